"""One place that turns what went wrong into one line on stderr and an exit status.

The library raises ``ValueError``, ``TypeError`` and ``OSError`` that name the argument; Typer raises its own for what
it cannot parse. Both end here as one line and status 2. Anything else is a defect and keeps its traceback.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from repflow.extras import MissingExtraError

#: Exit status for a wrong argument, for work that was interrupted, and for a check that failed.
WRONG_ARGUMENT, INTERRUPTED, CHECK_FAILED = 2, 130, 1


def one_line(error: BaseException) -> str:
    """What went wrong, on one line."""
    parsing = getattr(error, "format_message", None)
    if callable(parsing):
        text = str(parsing())
    elif isinstance(error, OSError) and error.filename is not None and error.strerror:
        text = f"{error.filename}: {error.strerror}"
    else:
        text = str(error) or type(error).__name__
    return " ".join(text.split())


def _report(error: BaseException) -> int:
    print(f"repflow: error: {one_line(error)}", file=sys.stderr)
    return WRONG_ARGUMENT


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """A warning of the library as one line, without the place in the code that raised it."""
    print(f"repflow: warning: {' '.join(str(message).split())}", file=sys.stderr)


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
                prog_name=prog_name,
                complete_var=complete_var,
                standalone_mode=False,
                windows_expand_args=windows_expand_args,
                **extra,
            )

        if not standalone_mode:
            return run()
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                status = run()
        except (KeyboardInterrupt, typer.Abort):
            status = INTERRUPTED
        except BrokenPipeError:  # the reader of a pipe has left, as in `repflow critical gelu | head -1`
            sys.stderr.close()
            sys.exit(CHECK_FAILED)
        except (ValueError, TypeError, OSError, MemoryError, MissingExtraError) as error:
            sys.exit(_report(error))
        except Exception as error:
            if not callable(getattr(error, "format_message", None)):
                raise
            sys.exit(_report(error))
        # Without standalone mode Typer returns the status of an Exit (of Ctrl-C too), or what the command returned.
        if status == INTERRUPTED:
            print("repflow: interrupted", file=sys.stderr)
        sys.exit(status if isinstance(status, int) else 0)
