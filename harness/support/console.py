"""Where styled output goes: our own commands to the terminal pass, those of others do not."""

from __future__ import annotations

import sys

from rich.console import Console

UNLIMITED = 100_000
"""Width of what is no terminal: nothing is cut for the eyes of a program."""


class _Console(Console):
    """Leaves it to the command line what becomes of a pipe whose reader has gone."""

    def on_broken_pipe(self) -> None:
        """Instead of exit code 1, which would read as a gate's verdict."""
        raise BrokenPipeError


def console(*, stderr: bool = False) -> Console:
    """Standard output or error; brackets are no markup.

    Text that others chose must be ``escaped`` before it is printed here.
    """
    stream = sys.stderr if stderr else sys.stdout
    return _Console(
        file=getattr(stream, "styled", stream),
        width=None if stream.isatty() else UNLIMITED,
        markup=False,
        emoji=False,
        highlight=False,
    )
