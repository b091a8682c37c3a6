"""Saving and loading results: one JSON file or a zarr directory store, with a schema name and version, never pickle.

A result class mixes in :class:`Result`, registers its schema with :func:`result_schema`, and turns itself into a
:class:`Payload` of plain arrays and metadata. What reaches the disk is written beside its destination first and moved
there in one step, so that a reader never meets half a file.
"""

from repflow.results.atomic import atomic_directory, atomic_write_text
from repflow.results.payload import Payload
from repflow.results.result import Result, labelled, load, result_schema

__all__ = ["Payload", "Result", "atomic_directory", "atomic_write_text", "labelled", "load", "result_schema"]
