"""From ``nn.Module`` to a description that theory can compute with."""

from repflow.graph.chain import Chain, ChainLayer, read_chain
from repflow.graph.graph import Graph, observe, read_graph
from repflow.graph.node import Node
from repflow.graph.places import ParameterPlace
from repflow.graph.result import GraphFlow, NodeKernel, second_moment
from repflow.graph.theory import Request
from repflow.graph.tracing import trace

__all__ = [
    "Chain",
    "ChainLayer",
    "Graph",
    "GraphFlow",
    "Node",
    "NodeKernel",
    "ParameterPlace",
    "Request",
    "observe",
    "read_chain",
    "read_graph",
    "second_moment",
    "trace",
]
