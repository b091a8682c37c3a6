"""Seeded blocks: the machinery under every long random computation, without theory.

Work is cut into blocks of a size that the configuration alone decides. Each block draws from generators whose seed
is a hash of (seed, block, stream), so a block's bits do not depend on what ran before it, on which thread it runs,
or on an interruption. :func:`run_blocks` runs them on threads and hands the results over in block order;
:class:`Checkpoint` keeps what was absorbed so far in one file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import tempfile
import time
import zipfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")

_CONFIGURATION = "configuration"


def generator(seed: int, *key: int) -> np.random.Generator:
    """The random generator of one stream, for example ``generator(seed, block, layer)``.

    ``SeedSequence`` hashes (seed, key), so streams are independent and reached in any order.

    Parameters
    ----------
    seed
        Whole number of 0 or more.
    *key
        Whole numbers of 0 or more that name the stream.
    """
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=key)))


def derived_seed(seed: int, *key: int) -> int:
    """A seed of its own for each key: for what takes a seed and not a generator."""
    return int(generator(seed, *key).integers(2**62))


def check_seed(seed: object) -> int:
    """``seed`` as an int; ``TypeError`` or ``ValueError`` unless it is a whole number of 0 or more."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise TypeError(f"seed must be a whole number, got {type(seed).__name__}")
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}")
    return int(seed)


def digest(array: np.ndarray[Any, Any]) -> str:
    """Hash of an array's type, shape and bits, to recognise it again."""
    contiguous = np.ascontiguousarray(array)
    header = f"{contiguous.dtype.str}{contiguous.shape}".encode()
    return hashlib.sha256(header + contiguous.tobytes()).hexdigest()


def available_memory() -> int | None:
    """Bytes that this process can still take: free memory of the machine, less where a control group allows less."""
    found: list[int] = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                found.append(int(line.split()[1]) * 1024)
    with contextlib.suppress(OSError, ValueError):
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        if limit != "max":
            found.append(int(limit) - int(Path("/sys/fs/cgroup/memory.current").read_text()))
    if not found:
        with contextlib.suppress(OSError, ValueError, AttributeError):  # other systems: all of the memory
            found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return max(min(found), 0) if found else None


def require_memory(needed: int, what: str, remedy: str) -> None:
    """Refuse a computation whose arrays do not fit in memory.

    Raises
    ------
    MemoryError
        ``needed`` bytes are more than :func:`available_memory`; the message holds both and the remedy.
    """
    available = available_memory()
    if available is not None and needed > available:
        size = f"{needed} bytes, {needed / 2**30:.2f} GiB"
        raise MemoryError(f"{what} needs {size}; {available / 2**30:.2f} GiB are free; {remedy}")


class Checkpoint:
    """One file that holds the arrays absorbed so far and the configuration that they belong to.

    Parameters
    ----------
    path
        Where the file is or will be (NumPy's zip format, never pickle). Written atomically.
    configuration
        What must be the same for the arrays to be of use, as plain data for JSON, by name.

    Raises
    ------
    ValueError
        The directory does not exist or cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], configuration: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.configuration: dict[str, Any] = json.loads(json.dumps(dict(configuration)))
        parent = self.path.parent
        if not parent.is_dir():
            raise ValueError(f"checkpoint: the directory {str(parent)!r} does not exist")
        if self.path.is_dir():
            raise ValueError(f"checkpoint: {str(self.path)!r} is a directory, a file is needed")
        if not os.access(parent, os.W_OK):
            raise ValueError(f"checkpoint: the directory {str(parent)!r} cannot be written to")

    def load(self) -> dict[str, np.ndarray[Any, Any]] | None:
        """The arrays of the file, or None where there is no file yet.

        Raises
        ------
        ValueError
            The file is not a checkpoint, or belongs to another configuration; the message names what differs.
        """
        if not self.path.exists():
            return None
        try:
            with np.load(self.path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            saved = json.loads(str(arrays.pop(_CONFIGURATION)))
        except (OSError, ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile) as error:
            raise ValueError(f"checkpoint: {str(self.path)!r} cannot be read as a checkpoint ({error})") from error
        if not isinstance(saved, dict):
            raise ValueError(f"checkpoint: {str(self.path)!r} cannot be read as a checkpoint")
        names = [*self.configuration, *(name for name in saved if name not in self.configuration)]
        differing = [name for name in names if saved.get(name) != self.configuration.get(name)]
        if differing:
            parts = ", ".join(
                f"{name} ({_short(saved.get(name))} there, {_short(self.configuration.get(name))} asked)"
                for name in differing
            )
            raise ValueError(
                f"checkpoint: {str(self.path)!r} belongs to another configuration: {parts}; "
                "name another file or remove it"
            )
        return arrays

    def save(self, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Replace the file by one that holds ``arrays``; a reader sees the old file or the new one, never a part."""
        content = {_CONFIGURATION: np.array(json.dumps(self.configuration)), **arrays}
        descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                np.savez(file, allow_pickle=False, **content)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:12]}..."


def run_blocks(
    work: Callable[[int], T],
    absorb: Callable[[T], None],
    blocks: int,
    *,
    start: int = 0,
    threads: int = 1,
    save: Callable[[], None] | None = None,
    save_every: float = 5.0,
    on_block: Callable[[int, int], None] | None = None,
    before_last: Callable[[], None] | None = None,
) -> bool:
    """Run ``work(start) ... work(blocks - 1)`` on threads and absorb the results in block order.

    Ctrl-C stops between blocks: what was absorbed is whole blocks 0, 1, ..., with no gap.

    Parameters
    ----------
    work
        Maps a block's index to its result. Runs on several threads at once, so it may share nothing that it writes to.
    absorb
        Takes one result in. It has to change its state by one assignment, so that an interruption falls before or
        after it.
    blocks, start
        Number of blocks in all, and how many of them were absorbed before.
    threads
        Blocks in flight at once.
    save
        Called at least ``save_every`` seconds apart while blocks are absorbed, and once at the end, interrupted or
        not.
    on_block
        Called with (blocks absorbed, blocks) after each.
    before_last
        Called before the last block is absorbed.

    Returns
    -------
    bool
        Whether every block was absorbed; False after KeyboardInterrupt.
    """
    complete = True
    executor = ThreadPoolExecutor(max_workers=max(1, threads), thread_name_prefix="repflow-block")
    pending: deque[Future[T]] = deque()
    saved = time.monotonic()
    try:
        upcoming = start
        for done in range(start, blocks):
            while upcoming < blocks and len(pending) <= max(1, threads):  # one more than runs: no thread waits
                pending.append(executor.submit(work, upcoming))
                upcoming += 1
            result = pending.popleft().result()
            if before_last is not None and done + 1 == blocks:
                before_last()
            absorb(result)
            if on_block is not None:
                on_block(done + 1, blocks)
            if save is not None and time.monotonic() - saved > save_every:
                save()
                saved = time.monotonic()
    except KeyboardInterrupt:
        complete = False
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
    if save is not None:
        save()
    return complete


@contextlib.contextmanager
def progress_bar(progress: bool | None, label: str, total: int, done: int = 0) -> Iterator[Callable[[int], None]]:
    """A Rich progress bar on stderr, as a function that is told how much is done.

    Parameters
    ----------
    progress
        True or False, or None: only where stderr is a terminal.
    label
        What is counted.
    total, done
        Units in all, and done before.
    """
    if not (sys.stderr.isatty() if progress is None else progress):
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=sys.stderr.isatty(),  # in a pipe the finished bar stays, as one line
    )
    with bar:
        task = bar.add_task(label, total=total, completed=done)
        yield lambda count: bar.update(task, completed=count)
