"""Values put beside each other: laws on the disjoint union of their points."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from repflow.graph.gaussian import Gaussian
from repflow.graph.law import Law, Moments, Part, uniform
from repflow.graph.refusal import Refusal


def joined(laws: Sequence[Law]) -> Law:
    """Laws on the disjoint union of their points, for one channel number: a concatenation along positions."""
    sizes = [law.size for law in laws]
    upstream = frozenset().union(*(law.upstream for law in laws))
    if any(law.only is not None for law in laws):
        rows = [[law.second if law is other else law.cross(other) for other in laws] for law in laws]
        second = torch.cat([torch.cat(row, 1) for row in rows])
        blocks = tuple(block for law in laws for block in law.blocks)
        unknown = any(law.only is not None and law.only.mean is None for law in laws)
        mean = None if unknown else torch.cat([law.mean for law in laws])
        only = Moments(second, mean, blocks, any(law.of_input for law in laws))
        return Law(sum(sizes), only=only, upstream=upstream)
    parts: list[Part] = []
    gaussian = Gaussian(sum(sizes))
    for number, law in enumerate(laws):
        before, after = sum(sizes[:number]), sum(sizes[number + 1 :])
        for part in law.parts:
            padded = part.gaussian.padded(before, after)
            if part.activation is None:
                gaussian = gaussian.plus(padded)
                continue
            # A function that vanishes at 0 may keep its coefficient where its argument is 0: it stays one function.
            zero = torch.zeros(1, dtype=torch.float64)
            same = uniform(part.coefficient) and not bool(part.activation(zero).any())
            outside = float(part.coefficient[0]) if same else 0.0
            coefficient = functional.pad(part.coefficient, (before, after), value=outside)
            parts.append(Part(coefficient, part.activation, padded))
    if gaussian.terms:
        parts.insert(0, Part(torch.ones(sum(sizes), dtype=torch.float64), None, gaussian))
    given = None
    if any(law.given is not None for law in laws):
        widths = {law.given.shape[1] for law in laws if law.given is not None}
        if len(widths) > 1:
            raise Refusal("it joins inputs of different numbers of channels")
        width = widths.pop()
        given = torch.cat(
            [torch.zeros(law.size, width, dtype=torch.float64) if law.given is None else law.given for law in laws]
        )
    return Law(sum(sizes), tuple(parts), torch.cat([law.offset for law in laws]), given, None, upstream)
