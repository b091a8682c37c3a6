"""The kernel rules, a family a file; importing this fills the registry."""

from repflow.graph.registry import measured
from repflow.graph.rules import elementwise, embedding, linear, norm, pooling, shape

measured("norm", "its statistics are those of the batch, or were collected in training", "batch_norm", "instance_norm")
measured(
    "attention",
    "its weights are a softmax of products of values, which stay random at infinite width for a finite number of heads",
    "scaled_dot_product_attention", "multi_head_attention_forward", "native_multi_head_attention",
)  # fmt: skip
measured("opaque", "a softmax has no kernel rule", "softmax", "log_softmax")

__all__ = ["elementwise", "embedding", "linear", "norm", "pooling", "shape"]
