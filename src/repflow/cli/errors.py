"""One place that turns what went wrong into one line on stderr and an exit status.

The library raises ``ValueError``, ``TypeError`` and ``OSError`` that name the argument; Typer raises its own for what
it cannot parse. Both end here as one line and status 2. Anything else is a defect and keeps its traceback.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from repflow.cli.output import be_printable
from repflow.extras import MissingExtraError

#: Exit status for a check that failed, for a wrong argument or file, for Ctrl-C, and for a pipe whose reader has left
#: (the two that a shell gives to SIGINT and SIGPIPE).
CHECK_FAILED, WRONG_ARGUMENT, INTERRUPTED, PIPE_CLOSED = 1, 2, 130, 141


def one_line(error: BaseException) -> str:
    """What went wrong, on one line."""
    parsing = getattr(error, "format_message", None)
    if callable(parsing):
        text = str(parsing()).replace("Value error, ", "") + _given(error)
    elif isinstance(error, OSError) and error.filename is not None and error.strerror:
        text = f"{error.filename}: {error.strerror}"
    else:
        text = str(error) or type(error).__name__
    return " ".join(text.split())


def _given(error: BaseException) -> str:
    """The value that Typer could not take, where its message leaves it out."""
    found = getattr(error.__cause__, "errors", None)
    entries = found() if callable(found) else []
    if not entries or "input" not in entries[0] or repr(entries[0]["input"]) in str(entries[0].get("msg")):
        return ""
    return f", got {entries[0]['input']!r}"


def _report(error: BaseException) -> int:
    print(f"repflow: error: {one_line(error)}", file=sys.stderr)
    return WRONG_ARGUMENT


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """A warning of the library as one line, without the place in the code that raised it."""
    print(f"repflow: warning: {' '.join(str(message).split())}", file=sys.stderr)


def _leave_pipe() -> None:
    """Let nothing more be written to a pipe that nobody reads, which Python would complain about at its end."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


class OneLineErrors(TyperGroup):
    """The command group whose errors are one line on stderr."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command and exit with its status; with ``standalone_mode`` off, return or raise as Typer does."""

        def run() -> Any:
            return super(OneLineErrors, self).main(
                args=args,
                # By whatever it was started, as by `python -m repflow`: help and completion call it by its name.
                prog_name=prog_name or self.name,
                complete_var=complete_var,
                standalone_mode=False,
                windows_expand_args=windows_expand_args,
                **extra,
            )

        if not standalone_mode:
            return run()
        be_printable()
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                status = run()
            sys.stdout.flush()  # here, where a closed pipe is understood
        except (KeyboardInterrupt, typer.Abort):
            status = INTERRUPTED
        except BrokenPipeError:  # the reader has left, as in `repflow critical gelu | head -1`
            status = PIPE_CLOSED
        except SystemExit as error:
            # Typer and Rich make one of a closed pipe, with the status of a check that failed.
            if not isinstance(error.__context__, BrokenPipeError):
                raise
            status = PIPE_CLOSED
        except (ValueError, TypeError, OSError, MemoryError, MissingExtraError) as error:
            sys.exit(_report(error))
        except Exception as error:
            if not callable(getattr(error, "format_message", None)):
                raise
            sys.exit(_report(error))
        # Without standalone mode Typer returns the status of an Exit (of Ctrl-C too), or what the command returned.
        if status == PIPE_CLOSED:
            _leave_pipe()
        elif status == INTERRUPTED:
            print("repflow: interrupted", file=sys.stderr)
        sys.exit(status if isinstance(status, int) else 0)
