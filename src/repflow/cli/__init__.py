"""The command line: ``repflow report | critical | flow | sample | experiment``; the library does the work."""

from repflow.cli.app import app

__all__ = ["app"]
