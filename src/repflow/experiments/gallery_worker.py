"""One experiment in a process of its own: started by the gallery, one JSON object a line on stdout.

``python -m repflow.experiments.gallery_worker NAME OUT SIZE SEED`` says ``{"message", "share"}`` on the way and, where
it fails, ``{"error"}``. The process ends with the one that started it, which holds the other end of stdin.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
import warnings
from typing import IO, Any, cast

from repflow.experiments.registry import Size

#: Exit status of an experiment that failed and has said why.
FAILED = 3


def main(arguments: list[str]) -> int:
    """Run it; the exit status."""
    name, out, size, seed = arguments
    # What an experiment or a library prints must not stand among the messages.
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    threading.Thread(target=_end_with_parent, daemon=True).start()

    from repflow.experiments.runner import run_experiment

    def tell(message: str, share: float) -> None:
        _say(channel, {"message": message, "share": share})

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            run_experiment(name, out, size=cast(Size, size), seed=int(seed), tell=tell)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        traceback.print_exc()
        kind = "" if isinstance(error, ImportError | ValueError | OSError) else f"{type(error).__name__}: "
        _say(channel, {"error": kind + (" ".join(str(error).split()) or type(error).__name__)})
        return FAILED
    return 0


def _say(channel: IO[str], message: dict[str, Any]) -> None:
    channel.write(json.dumps(message) + "\n")
    channel.flush()


def _end_with_parent() -> None:
    # Not sys.stdin, whose lock this thread would hold when the interpreter shuts down.
    while os.read(0, 1024):
        pass
    os._exit(130)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
