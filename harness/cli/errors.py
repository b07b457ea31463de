"""The lines and the exit code that an error ends a command with."""

from __future__ import annotations

from collections.abc import Sequence

from harness.errors import HarnessError, InfrastructureError, InputError
from harness.support.library_errors import described

INTERRUPTED = 130


def ending(error: BaseException) -> tuple[Sequence[str], int]:
    """What to say of ``error``, and the exit code: never 1, which is a verdict on numbers."""
    if isinstance(error, HarnessError):
        return error.lines if isinstance(error, InputError) else (str(error),), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return ("interrupted; finished cells are kept, run again to go on",), INTERRUPTED
    if isinstance(error, MemoryError | OSError):
        return (_system_message(error),), InfrastructureError.exit_code
    message = (
        f"unexpected {described(error)}; this is a fault in harness or in a plugin, --debug "
        "shows where"
    )
    return (message,), InfrastructureError.exit_code


def _system_message(error: MemoryError | OSError) -> str:
    if isinstance(error, MemoryError):
        return "out of memory; close other programs, or pass a smaller --batch-size or --model"
    if not error.filename:  # no file: a socket, a process
        return f"{error.strerror or error}; try again, --debug shows where"
    return (
        f"{error.filename}: {error.strerror}; check that the path is right and may be read and "
        "written, or choose another"
    )
