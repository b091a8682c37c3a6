"""Residual streams, found by measurement: which module's output is added to which earlier tensor.

A forward pass is watched at the borders of its modules. Where what enters or leaves a module is the sum of two earlier
tensors of its shape, the later of them is a branch and the other the stream that it is added to. Sums are recognised by
random linear functionals of the tensors, so nothing of the code between modules needs to be known; a sum of three
tensors, or one that goes through a function before a module sees it, is not found.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from repflow.empirical.call import Call
from repflow.empirical.sites import Site
from repflow.empirical.twin import Parameters, Passage, Twin

#: Functionals a tensor; agreement of a sum relative to the tensors' size.
_FUNCTIONALS, _TOLERANCE = 4, 2e-5
#: How many of the latest tensors may be the branch of a sum.
_RECENT = 60


@dataclass(frozen=True)
class Seen:
    """A tensor at the border of a module: what enters (``"in"``) or leaves (``"out"``) the call of this number."""

    number: int
    side: str


@dataclass(frozen=True)
class Branch:
    """An addition to a residual stream.

    Attributes
    ----------
    site
        The last one with parameters in the branch, by path.
    stream
        The tensor that the branch is added to.
    ratio
        rms(branch) / rms(sum).
    """

    site: str
    stream: Seen
    ratio: float


def find_branches(twin: Twin, parameters: Parameters, call: Call, sites: list[Site]) -> list[Branch]:
    """Every addition of a branch with parameters to a stream, in order of execution; one a site."""
    watcher = _Watcher()
    with torch.no_grad():
        _, passages = twin.watch(
            parameters,
            call,
            on_enter=lambda passage, number: watcher.see(passage.input, Seen(number, "in")),
            on_leave=lambda passage, number: watcher.see(passage.output, Seen(number, "out")),
        )
    ends = sorted((passages[number].end, site.path) for site in sites for number in site.calls)
    found: dict[str, Branch] = {}
    for stream, branch, ratio in watcher.sums:
        if branch.side != "out":
            continue
        if _is_shortcut(branch, stream, sites, passages):
            stream, branch = branch, stream
            inside = [path for end, path in ends if end <= passages[branch.number].end]
            if inside and inside[-1] not in found:
                found[inside[-1]] = Branch(inside[-1], stream, ratio)
            continue
        after = _time(stream, passages)
        inside = [path for end, path in ends if after < end <= passages[branch.number].end]
        if inside and inside[-1] not in found:
            found[inside[-1]] = Branch(inside[-1], stream, ratio)
    return list(found.values())


def _time(seen: Seen, passages: list[Passage]) -> int:
    passage = passages[seen.number]
    return passage.begin if seen.side == "in" else passage.end


def _is_shortcut(branch: Seen, stream: Seen, sites: list[Site], passages: list[Passage]) -> bool:
    """Whether the later term of a sum is a projection of the stream, and the earlier one the branch.

    A block that changes its width or its resolution may compute its shortcut last: one convolution or linear map behind
    the several of its branch, all within the block.
    """
    if stream.side != "out":
        return False
    early, late = passages[stream.number], passages[branch.number]
    around = [p for p in passages if p.begin < early.begin and p.end > late.end]
    if len(around) < 2:
        return False  # within the model itself only: a stem, then a branch
    block = max(around, key=lambda p: p.begin)
    places = [(passages[number], "norm" in site.kind.lower()) for site in sites for number in site.calls]
    behind = [p for p, norm in places if not norm and early.end < p.end <= late.end]
    before = [p for p, norm in places if not norm and p.begin > block.begin and p.end <= early.end]
    return len(behind) == 1 and len(before) >= 2


class _Watcher:
    """Keeps functionals of the tensors seen, by shape, and the sums recognised among them."""

    def __init__(self) -> None:
        self.sums: list[tuple[Seen, Seen, float]] = []
        self._held: dict[tuple[int, ...], tuple[list[np.ndarray], list[float], list[Seen]]] = {}
        self._functionals: dict[tuple[int, ...], Tensor] = {}

    def see(self, tensor: Tensor | None, where: Seen) -> None:
        if tensor is None or not tensor.is_floating_point() or tensor.ndim < 2:
            return
        shape = tuple(tensor.shape)
        if shape not in self._functionals:
            generator = torch.Generator().manual_seed(len(self._functionals))
            signs = torch.randint(2, (_FUNCTIONALS, tensor.numel()), generator=generator, dtype=torch.int8)
            self._functionals[shape] = signs * 2 - 1
        flat = tensor.detach().flatten().double().cpu()
        values = (self._functionals[shape].double() @ flat).numpy()
        size = float(flat.norm())
        vectors, sizes, places = self._held.setdefault(shape, ([], [], []))
        scale = max(size, 1e-30)
        if size == 0 or any(np.abs(values - held).max() < _TOLERANCE * scale for held in vectors):
            return
        if len(vectors) > 1:
            held, norms = np.array(vectors), np.array(sizes)
            first = max(0, len(vectors) - _RECENT)
            # gaps[i, j]: how far tensor i plus recent tensor j is from this one.
            gaps = np.abs(held[:, None] + held[None, first:] - values).max(-1)
            streams, branches = np.nonzero(gaps < _TOLERANCE * scale)
            pairs = [
                (i, first + j)
                for i, j in zip(streams.tolist(), branches.tolist(), strict=True)
                if i < first + j and min(norms[i], norms[first + j]) > 1e-3 * size
            ]
            if pairs:
                i, j = min(pairs, key=lambda pair: gaps[pair[0], pair[1] - first])
                self.sums.append((places[i], places[j], float(norms[j]) / size))
        vectors.append(values)
        sizes.append(size)
        places.append(where)
