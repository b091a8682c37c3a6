"""Where a report comes from: versions, platform, and what each stage took."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Any

from repflow import __version__

_PACKAGES = ("torch", "numpy", "scipy", "plotly", "zarr")


class Timings:
    """Seconds by stage, in the order in which the stages were entered."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a block."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def provenance(configuration: dict[str, Any], timings: Timings) -> dict[str, Any]:
    """Plain data for the end of a report."""
    versions = {"repflow": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "versions": versions,
        "platform": f"{platform.system()} {platform.machine()}",
        "written": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "configuration": configuration,
        "seconds": {name: round(value, 3) for name, value in timings.seconds.items()},
    }
