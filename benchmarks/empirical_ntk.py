"""``rf.empirical_ntk`` against the plain way: the whole Jacobian by ``torch.func``, then its product with itself.

    python benchmarks/empirical_ntk.py [--inputs 32] [--memory 64 256] [--threads 1]

The plain way is that of PyTorch's tutorial "Neural Tangent Kernels": ``vmap(jacrev(f))`` over inputs, then one product
for each parameter tensor. Every measurement runs in a process of its own: seconds of the call, and by how much the
process's peak memory grew over what it held before. Both give the trace over outputs; their largest relative
difference is printed too. Ratios are ours over the plain way's.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import subprocess
import sys
import time

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

MODELS = ("mlp", "convolutions", "transformer")


def model_and_inputs(kind: str, inputs: int) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    if kind == "mlp":
        widths = (784, 512, 512, 512, 10)
        layers = [part for a, b in itertools.pairwise(widths) for part in (nn.Linear(a, b), nn.GELU())]
        return nn.Sequential(*layers[:-1]), torch.randn(inputs, 784)
    if kind == "convolutions":
        blocks: list[nn.Module] = []
        for a, b in ((3, 32), (32, 64), (64, 128)):
            blocks += [nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2)]
        return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(2048, 10)).eval(), torch.randn(inputs, 3, 32, 32)
    layer = nn.TransformerEncoderLayer(128, 4, 512, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
    return nn.Sequential(encoder, nn.Flatten(), nn.Linear(16 * 128, 10)).eval(), torch.randn(inputs, 16, 128)


def plain(module: nn.Module, x: Tensor) -> Tensor:
    """The whole Jacobian, then the products."""
    parameters = {name: parameter.detach() for name, parameter in module.named_parameters()}

    def one(held: dict[str, Tensor], row: Tensor) -> Tensor:
        return functional_call(module, held, (row.unsqueeze(0),)).squeeze(0)

    jacobian = vmap(jacrev(one), (None, 0))(parameters, x)
    return sum(torch.einsum("aop,bop->ab", j.flatten(2), j.flatten(2)) / j.shape[1] for j in jacobian.values())


def worker(kind: str, inputs: int, memory: int, threads: int) -> None:
    """One measurement, as a line of JSON; ``memory`` 0 is the plain way."""
    torch.set_num_threads(threads)
    import repflow as rf

    module, x = model_and_inputs(kind, inputs)

    def call(module: nn.Module, x: Tensor) -> Tensor:
        if memory == 0:
            return plain(module, x)
        return rf.empirical_ntk(module, x, memory=memory << 20, by_parameter=False, progress=False).kernel

    call(nn.Linear(3, 2), torch.randn(2, 3))  # what is loaded at the first call is no part of it
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    kernel = call(module, x)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    parameters = sum(p.numel() for p in module.parameters())
    print(json.dumps({"seconds": seconds, "peak": peak / 1024, "parameters": parameters, "kernel": kernel.tolist()}))


def measured(kind: str, inputs: int, memory: int, threads: int) -> dict[str, float] | None:
    command = [sys.executable, __file__, "--worker", kind, str(inputs), str(memory), str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=32)
    parser.add_argument("--memory", type=int, nargs="+", default=[64, 256], help="budgets in MiB")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        kind, *numbers = options.worker
        worker(kind, *map(int, numbers))
        return
    for kind in options.models:
        reference = measured(kind, options.inputs, 0, options.threads)
        if reference is None:
            print(f"{kind}: the plain way fails (out of memory)")
            continue
        jacobian = 4 * options.inputs * 10 * reference["parameters"] / 2**20
        print(f"{kind}, {reference['parameters']} parameters, {options.inputs} inputs, Jacobian of {jacobian:.0f} MiB")
        print(f"  plain way          {reference['seconds']:6.2f} s, peak {reference['peak']:6.0f} MiB")
        expected = torch.tensor(reference["kernel"])
        for memory in options.memory:
            ours = measured(kind, options.inputs, memory, options.threads)
            if ours is None:
                print(f"  memory={memory} MiB fails")
                continue
            difference = float((torch.tensor(ours["kernel"]) - expected).abs().max() / expected.abs().max())
            print(
                f"  memory={memory:5d} MiB    {ours['seconds']:6.2f} s, peak {ours['peak']:6.0f} MiB; "
                f"time x {ours['seconds'] / reference['seconds']:.2f}, "
                f"memory x {ours['peak'] / max(reference['peak'], 1):.2f}, difference {difference:.0e}",
                flush=True,
            )


if __name__ == "__main__":
    main()
