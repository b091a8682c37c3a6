"""Experiments side by side, each in a process of its own: memory is given back, and one that dies takes no other."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from repflow.blocks import available_memory
from repflow.experiments.registry import Size, Tell
from repflow.results import atomic_write_text

#: What a failed experiment leaves in its directory: what it wrote on stderr.
ERROR = "error.txt"
# An experiment at default size takes up to this much memory.
_BYTES = 2 * 2**30
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class ExperimentFailedError(RuntimeError):
    """An experiment did not come to its end; the message is the reason on one line."""


def processors() -> int:
    """Processors that this process may use."""
    try:
        return max(1, len(os.sched_getaffinity(0)))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def default_jobs() -> int:
    """One experiment a processor, fewer where memory is short."""
    memory = available_memory()
    return max(1, processors() if memory is None else min(processors(), memory // _BYTES))


class Workers:
    """Runs experiments in processes, and ends those that run when asked to.

    Parameters
    ----------
    jobs
        How many run at once: the processors are shared out among them.
    """

    def __init__(self, jobs: int) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._stopped = False
        threads = str(max(1, processors() // jobs))
        self._environment = {**dict.fromkeys(_THREADS, threads), **os.environ}

    def run(self, name: str, directory: Path, size: Size, seed: int, tell: Tell) -> None:
        """Run one experiment to its end.

        Raises
        ------
        ExperimentFailedError
            It failed, or was ended.
        """
        command = [sys.executable, "-m", "repflow.experiments.gallery_worker", name, str(directory), size, str(seed)]
        with tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace") as errors:
            with self._lock:
                if self._stopped:
                    raise ExperimentFailedError("interrupted")
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    encoding="utf-8",
                    env=self._environment,
                )
                self._running.add(process)
            try:
                reason = _listen(process, tell)
                status = process.wait()
            finally:
                with self._lock:
                    self._running.discard(process)
                _close(process)
            if status == 0:
                (directory / ERROR).unlink(missing_ok=True)
                return
            if self._stopped:
                raise ExperimentFailedError("interrupted")
            errors.seek(0)
            directory.mkdir(parents=True, exist_ok=True)
            atomic_write_text(directory / ERROR, errors.read())
            raise ExperimentFailedError(reason or f"its process ended with status {status}; see {ERROR}")

    def stop(self) -> None:
        """End all that run; nothing starts any more."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.terminate()


def _listen(process: subprocess.Popen[str], tell: Tell) -> str | None:
    """Pass on what a process says until it ends; the reason that it gave for failing."""
    reason = None
    assert process.stdout is not None
    for line in process.stdout:
        with contextlib.suppress(ValueError):
            said: dict[str, Any] = json.loads(line)
            if "error" in said:
                reason = str(said["error"])
            else:
                tell(said["message"], said["share"])
    return reason


def _close(process: subprocess.Popen[str]) -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
