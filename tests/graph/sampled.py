"""Sampled initialisations of the very module, and whether theory agrees with them."""

import torch
from torch import nn

from repflow.graph import observe, second_moment

NORMS = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.BatchNorm1d)


class Given(nn.Module):
    """Named parts, and a forward pass given as a function."""

    def __init__(self, run, **parts):
        super().__init__()
        self.run = run
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *args, **kwargs):
        return self.run(self, *args, **kwargs)


def draw(module, generator):
    """Gaussian parameters of the variances that the module has; norms and constants stay."""
    fixed = {id(p) for part in module.modules() if isinstance(part, NORMS) for p in part.parameters()}
    padded = {id(e.weight): e.padding_idx for e in module.modules() if isinstance(e, nn.Embedding)}
    found = {}
    for name, parameter in module.named_parameters():
        held = parameter.detach()
        if id(parameter) in fixed or bool((held == held.flatten()[0]).all()):
            found[name] = held
            continue
        padding = padded.get(id(parameter))
        rows = held if padding is None else torch.cat([held[:padding], held[padding + 1 :]])
        found[name] = torch.randn(held.shape, generator=generator) * rows.square().mean().sqrt()
        if padding is not None:
            found[name][padding] = 0
    return found


def sampled(module, x, flow, draws, seed=0):
    """Mean and standard error of the second moment of every node with a kernel, over draws."""
    generator = torch.Generator().manual_seed(seed)
    known = [node for node in flow if node.known]
    first = {node.name: torch.zeros_like(node.kernel) for node in known}
    square = {node.name: torch.zeros_like(node.kernel) for node in known}
    for _ in range(draws):
        values = observe(module, x, draw(module, generator))
        for node in known:
            moment = second_moment(values[node.name], node.axis)
            first[node.name] += moment / draws
            square[node.name] += moment**2 / draws
    return {name: (mean, ((square[name] - mean**2).clamp(min=0) / (draws - 1)).sqrt()) for name, mean in first.items()}


def excess(theory, mean, error, width=256):
    """Largest deviation beyond 1/n in standard errors: the tolerance is 6/n of the largest entry."""
    scale = theory.abs().max()
    beyond = ((mean - theory).abs() - 6.0 / width * scale).clamp(min=0)
    return float((beyond / (error + 1e-6 * scale)).max())


def assert_agrees(module, x, flow, draws=60, width=256):
    """Every kernel within 5 standard errors and the tolerance."""
    found = sampled(module, x, flow, draws)
    assert found
    for node in flow:
        if node.known:
            assert excess(node.kernel, *found[node.name], width) < 5, node
