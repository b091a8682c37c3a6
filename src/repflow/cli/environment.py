"""What a bug report needs to know of a machine: versions, threads, memory, devices, extras."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from repflow import __version__
from repflow.extras import PURPOSES

GIB = 2**30
#: Variables that change how many threads compute, or what a terminal shows.
VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
    "NO_COLOR",
    "COLUMNS",
    "PYTHONPATH",
)
#: Of those, the ones that hold paths.
PRIVATE = ("PYTHONPATH",)


def environment(verbose: bool = False) -> dict[str, Any]:
    """The environment as plain data.

    Parameters
    ----------
    verbose
        With the places of files and the build of torch. Otherwise the interpreter's path is the only one, the home
        directory in it written as ``~``.
    """
    packages, extras = _packages()
    found: dict[str, Any] = {
        "repflow": __version__,
        "python": {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "executable": sys.executable if verbose else _without_home(sys.executable),
        },
        "platform": platform.platform(),
        "cores": {"logical": os.cpu_count(), "usable": _usable_cores()},
        "memory": _memory(),
        "variables": {
            name: os.environ[name] if verbose or name not in PRIVATE else "(set)"
            for name in VARIABLES
            if name in os.environ
        },
        "terminal": {
            "stdout": "a terminal" if sys.stdout.isatty() else "no terminal",
            "encoding": sys.stdout.encoding,
            "columns": shutil.get_terminal_size().columns,
        },
        "packages": packages,
        "extras": extras,
    }
    found |= _torch(verbose)
    if verbose:
        found["paths"] = {
            "repflow": str(Path(__file__).resolve().parents[1]),
            "working directory": str(Path.cwd()),
            "sys.path": list(sys.path),
        }
    return found


def _without_home(path: str) -> str:
    home = str(Path.home())
    return f"~{path[len(home) :]}" if len(home) > 1 and path.startswith(home + os.sep) else path


def _usable_cores() -> int | None:
    # Not on every system; a container or a batch queue may allow fewer cores than there are.
    affinity = getattr(os, "sched_getaffinity", None)
    return os.cpu_count() if affinity is None else len(affinity(0))


def _memory() -> dict[str, float | None]:
    """Gibibytes in all, and those that this process can still take."""
    import psutil

    from repflow.blocks import available_memory

    free = available_memory()
    return {
        "total_gib": round(psutil.virtual_memory().total / GIB, 1),
        "free_gib": None if free is None else round(free / GIB, 1),
    }


def _packages() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What repflow asks for: packages, and extras with their packages, each with what is installed."""
    from packaging.requirements import Requirement

    try:
        metadata = importlib.metadata.metadata("repflow")
        requirements = [Requirement(text) for text in importlib.metadata.requires("repflow") or []]
    except importlib.metadata.PackageNotFoundError:  # run from a checkout that is not installed
        return [], []
    packages = [_package(each) for each in requirements if each.marker is None or each.marker.evaluate({"extra": ""})]
    extras = []
    for name in metadata.get_all("Provides-Extra") or []:
        parts = [
            _package(each)
            for each in requirements
            if each.marker is not None
            and not each.marker.evaluate({"extra": ""})
            and each.marker.evaluate({"extra": name})
        ]
        missing = [part["name"] for part in parts if not part["fits"]]
        extras.append(
            {
                "name": name,
                "purpose": PURPOSES.get(name, ""),
                "installed": not missing,
                "missing": missing,
                "packages": parts,
            }
        )
    return packages, extras


def _package(requirement: Any) -> dict[str, Any]:
    try:
        installed = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        installed = None
    return {
        "name": requirement.name,
        "asked": str(requirement.specifier),
        "installed": installed,
        "fits": installed is not None and requirement.specifier.contains(installed, prereleases=True),
    }


def _torch(verbose: bool) -> dict[str, Any]:
    """Threads, linear algebra and devices, as torch sees them; why not, where it cannot be imported."""
    try:
        import torch
    except Exception as error:  # a broken installation raises many kinds
        return {"threads": None, "blas": [], "devices": [], "torch_error": " ".join(str(error).split())}
    devices: list[dict[str, Any]] = [{"device": "cpu", "name": _cpu_name()}]
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        devices.append(
            {
                "device": f"cuda:{index}",
                "name": properties.name,
                "memory_gib": round(properties.total_memory / GIB, 1),
                "cuda": torch.version.cuda,
            }
        )
    if torch.backends.mps.is_available():
        devices.append({"device": "mps", "name": "Apple GPU"})
    found: dict[str, Any] = {"threads": torch.get_num_threads(), "blas": _blas(), "devices": devices}
    if verbose:
        found["torch_build"] = [line.strip() for line in torch.__config__.show().splitlines() if line.strip()]
    return found


def _cpu_name() -> str:
    """The processor's name, which Python does not know on Linux."""
    try:
        match = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.M)
    except (OSError, UnicodeDecodeError):
        match = None
    return match[1].strip() if match else platform.processor() or platform.machine()


def _blas() -> list[str]:
    """Libraries of linear algebra: the one torch was built with, and NumPy's."""
    import numpy as np
    import torch

    build: Any = np.show_config(mode="dicts")  # type: ignore[func-returns-value, unused-ignore]
    blas = build.get("Build Dependencies", {}).get("blas", {})
    return [
        f"torch: {'MKL' if torch.backends.mkl.is_available() else 'no MKL'}, "
        f"{'oneDNN' if torch.backends.mkldnn.is_available() else 'no oneDNN'}",
        f"numpy: {blas.get('name', 'unknown')} {blas.get('version', '')}".rstrip(),
    ]
