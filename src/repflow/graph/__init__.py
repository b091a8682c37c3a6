"""From ``nn.Module`` to a description that theory can compute with."""

from repflow.graph.chain import Chain, ChainLayer, read_chain, trace

__all__ = ["Chain", "ChainLayer", "read_chain", "trace"]
