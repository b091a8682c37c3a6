"""What a kernel rule raises where theory does not apply."""

from __future__ import annotations


class Refusal(Exception):  # noqa: N818  (it is an answer, not a failure: the node is measured instead)
    """A node's kernel does not follow from those before it; the message is the reason, in words."""
