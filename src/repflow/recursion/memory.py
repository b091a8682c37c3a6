"""Whether the tensors of a call fit in memory, asked before they are made."""

from __future__ import annotations

import psutil


def available_bytes() -> int:
    """Memory that can be given to this process without swapping."""
    return int(psutil.virtual_memory().available)


def readable(size: float) -> str:
    """A number of bytes in the largest binary unit that keeps it above one."""
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.3g} {unit}"
        size /= 1024
    raise AssertionError("unreachable")


def require(needed: int, what: str, remedy: str) -> None:
    """Raise MemoryError with the bytes needed if ``needed`` exceeds what is available."""
    free = available_bytes()
    if needed > free:
        raise MemoryError(f"{what} needs {readable(needed)} ({needed} bytes), {readable(free)} are free; {remedy}")
