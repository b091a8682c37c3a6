"""Embeddings: equal tokens have the same Gaussian row, different ones independent rows."""

from __future__ import annotations

import torch

from repflow.graph.gaussian import Source
from repflow.graph.law import Law
from repflow.graph.layout import rows_layout
from repflow.graph.refusal import Refusal
from repflow.graph.registry import Bound, kernel_rule
from repflow.graph.states import Fixed, Random, Raw, State


@kernel_rule("embedding", "embedding")
def embedding(bound: Bound) -> State:
    """K_pq = C delta(token_p, token_q), C the mean square of the rows; a padding token's row is zero."""
    tokens, raw = bound.argument(0, "input"), bound.argument(1, "weight")
    if not isinstance(tokens, Fixed) or not isinstance(raw, Raw):
        raise Refusal("its tokens or its rows are computed")
    if bound.argument(3, "max_norm") is not None:
        raise Refusal("it renormalises its rows")
    unique, index = torch.unique(tokens.tensor, return_inverse=True)
    padding = bound.argument(2, "padding_idx")
    size = torch.full((len(unique),), raw.moments.mean_square, dtype=torch.float64)
    if padding is not None:
        rows = raw.shape[0]
        size *= rows / max(rows - 1, 1)  # the mean square counts a row of zeros
        size[unique == padding % rows] = 0.0
    law = Law.gaussian(Source(raw.name, torch.diag(size)), frozenset())
    return Random(rows_layout(tuple(index.shape), raw.shape[1], index.ndim, index), law)
