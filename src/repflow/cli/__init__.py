"""The command line: the commands of ``repflow``; the library does the work."""

from repflow.cli.app import app

__all__ = ["app"]
