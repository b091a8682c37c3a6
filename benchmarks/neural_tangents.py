"""K and Theta at infinite width against neural-tangents, which needs an environment of its own.

    python3.11 -m venv nt && nt/bin/pip install neural-tangents==0.6.5 jax==0.4.30 jaxlib==0.4.30 "numpy<2"
    python benchmarks/neural_tangents.py --python nt/bin/python

The current release of neural-tangents fails to import with current JAX, so the versions are pinned. N = 200 inputs,
depth 10, float64: largest difference relative to the largest entry, on and off the diagonal (where arccos(1) costs
neural-tangents half of its digits for relu), and seconds of both (JAX's second call, compiled).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import repflow as rf

#: C_W, C_b of the hidden and output layers; the first layer has C_W too.
COUPLINGS = {"relu": (2.0, 0.1), "erf": (1.2, 0.1), "gelu": (1.98305826, 0.17292239), "sin": (1.0, 0.0)}
LAMBDA_W, LAMBDA_B = 1.0, 1.0

# neural-tangents' parametrisation "ntk": z = W_std/sqrt(n) W s + b_std b with unit normal W and b, so that its NTK has
# lambda_W = C_W and lambda_b = C_b. "standard" has lambda 1 for every weight; repflow takes the rates as given.
PEER = """
import sys, time
import jax
jax.config.update("jax_enable_x64", True)
import numpy as np
from neural_tangents import stax
name, C_W, C_b, depth, path = sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
maps = {"relu": stax.Relu, "erf": stax.Erf, "gelu": stax.Gelu, "sin": stax.Sin}
layers = []
for number in range(depth):
    layers.append(stax.Dense(64, W_std=C_W**0.5, b_std=C_b**0.5 if C_b else None, parameterization="ntk"))
    if number < depth - 1:
        layers.append(maps[name]())
_, _, kernel = stax.serial(*layers)
kernel = jax.jit(kernel, static_argnums=(2,))
x = np.load(path + "/x.npy")
run = lambda: jax.block_until_ready(kernel(x, None, ("nngp", "ntk")))
run()
start = time.perf_counter()
found = run()
np.savez(path + "/peer.npz", nngp=found.nngp, ntk=found.ntk, seconds=time.perf_counter() - start)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, help="of an environment with neural-tangents")
    parser.add_argument("--inputs", type=int, default=200)
    parser.add_argument("--depth", type=int, default=10)
    options = parser.parse_args()
    x = np.random.default_rng(0).standard_normal((options.inputs, 30))
    for name, (C_W, C_b) in COUPLINGS.items():
        net = rf.mlp([30, *[64] * (options.depth - 1), 64], name, C_W=C_W, C_b=C_b, lambda_W=C_W, lambda_b=C_b)
        rf.flow(net, x[:4], order=0, tangent=True)
        start = time.perf_counter()
        ours = rf.flow(net, x, order=0, tangent=True)[-1]
        seconds = time.perf_counter() - start
        with tempfile.TemporaryDirectory() as folder:
            np.save(Path(folder) / "x.npy", x)
            command = [options.python, "-c", PEER, name, str(C_W), str(C_b), str(options.depth), folder]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(f"{options.python} failed for {name}: {done.stderr.strip().splitlines()[-1]}")
            theirs = dict(np.load(Path(folder) / "peer.npz"))
        found = []
        for mine, key in ((ours.kernel, "nngp"), (ours.ntk, "ntk")):
            difference = np.abs(mine.numpy() - theirs[key]) / np.abs(theirs[key]).max()
            on = np.eye(len(difference), dtype=bool)
            found.append(f"{difference[~on].max():.1e} (diagonal {difference[on].max():.1e})")
        print(
            f"{name:5s} N={options.inputs} L={options.depth}: K off by {found[0]}, Theta by {found[1]}; "
            f"{seconds:.3f} s against {float(theirs['seconds']):.3f} s"
        )


if __name__ == "__main__":
    main()
