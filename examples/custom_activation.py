"""An activation of one's own: critical couplings, theory and its comparison with an ensemble, no derivative written.

    python examples/custom_activation.py [--networks 20000] [--seed 0]

The function below is tanh up to 1 and a straight line of another slope beyond. repflow finds the kink from its values.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

import repflow as rf
from repflow.data import load_data


def leaky_tanh(z: Tensor) -> Tensor:
    """tanh z for z < 1, then a line of slope 1/4: continuous, with a kink at 1."""
    edge = torch.ones((), dtype=z.dtype, device=z.device)
    return torch.where(z < 1.0, torch.tanh(z), torch.tanh(edge) + 0.25 * (z - 1.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.networks < 2:
        parser.error(f"--networks must be 2 or more, since one has no fluctuation, got {options.networks}")

    activation = rf.as_activation(leaky_tanh)
    print(f"points where it is not smooth: {activation.kinks}")
    print(rf.critical(activation))

    x = load_data("digits", inputs=3).x
    network = rf.mlp([64, 128, 128, 128, 10], activation=activation, init="critical", x=x)
    theory = rf.flow(network, x, order=1)
    print(theory, f"error of the expectations at most {theory.error:.1e}", sep="\n")
    ensemble = rf.sample(network, x, networks=options.networks, seed=options.seed, method="gram", progress=False)
    print(rf.compare(theory, ensemble))


if __name__ == "__main__":
    main()
