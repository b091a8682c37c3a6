"""``nn.MultiheadAttention`` opened into the linear maps that it holds, so that each can be measured by itself.

torch's own forward pass multiplies by ``in_proj_weight`` and ``out_proj.weight`` in one function: no module is called
on the way, and its output says nothing about a step of the input projection. The opened form computes the same values
from the same parameters, by calls of linear modules.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class OpenAttention(nn.MultiheadAttention):
    """The class that an opened attention module is given; its parameters and attributes stay."""

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """As ``nn.MultiheadAttention``: the output, and the attention weights where they are asked for."""
        batched = query.dim() == 3
        same = query is key and key is value
        parts = [query] if same else [query, key, value]
        if not batched:
            parts = [part.unsqueeze(0) for part in parts]
        elif not self.batch_first:
            parts = [part.transpose(0, 1) for part in parts]
        projections: nn.ModuleList = self.in_proj  # type: ignore[assignment]
        if len(projections) == 1 and same:
            q, k, v = projections[0](parts[0]).chunk(3, -1)
        elif len(projections) == 1:
            q, k, v = (projections[0](part).chunk(3, -1)[i] for i, part in enumerate(parts))
        else:
            parts = parts * 3 if same else parts
            q, k, v = (projection(part) for projection, part in zip(projections, parts, strict=True))
        q, k, v = (part.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2) for part in (q, k, v))
        scores = q @ k.transpose(-2, -1) / self.head_dim**0.5
        scores = scores + self._mask(scores, key_padding_mask, attn_mask)
        weights = scores.softmax(-1)
        mixed = (weights @ v).transpose(1, 2).flatten(-2)
        out = self.out_proj(mixed)
        if not batched:
            out, weights = out.squeeze(0), weights.squeeze(0)
        elif not self.batch_first:
            out = out.transpose(0, 1)
        if not need_weights:
            return out, None
        return out, weights.mean(-3) if average_attn_weights else weights

    def _mask(self, scores: Tensor, padding: Tensor | None, mask: Tensor | None) -> Tensor:
        """What is added to the scores, (B, heads, T, S) or a shape that extends to it."""
        total = torch.zeros((), dtype=scores.dtype, device=scores.device)
        if mask is not None:
            added = _additive(mask, scores)
            total = total + (added.view(-1, self.num_heads, *added.shape[-2:]) if added.dim() == 3 else added)
        if padding is not None:
            added = _additive(padding, scores)
            total = total + (added[:, None, None, :] if added.dim() == 2 else added[None, None, None, :])
        return total


def _additive(mask: Tensor, like: Tensor) -> Tensor:
    if mask.dtype == torch.bool:
        return torch.zeros(mask.shape, dtype=like.dtype, device=like.device).masked_fill(mask, float("-inf"))
    return mask.to(like.dtype)


def open_attention(twin: nn.Module) -> None:
    """Open every attention module of a copy, in place; those with extra keys (``bias_k``, ``add_zero_attn``) stay."""
    for part in list(twin.modules()):
        if type(part) is not nn.MultiheadAttention or part.bias_k is not None or part.add_zero_attn:
            continue
        bias = part._parameters.get("in_proj_bias")
        if part._qkv_same_embed_dim:
            held: list[tuple[Any, Any]] = [(part.in_proj_weight, bias)]
        else:
            if bias is not None:
                continue  # thirds of one bias belong to three weights: no module of its own could hold them
            held = [(part.q_proj_weight, None), (part.k_proj_weight, None), (part.v_proj_weight, None)]
        projections = nn.ModuleList()
        for weight, its_bias in held:
            linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
            linear._parameters["weight"], linear._parameters["bias"] = weight, its_bias
            linear.training = False
            projections.append(linear)
        projections.training = False
        part.__class__ = OpenAttention
        part.add_module("in_proj", projections)
