"""Standard streams that keep no command from its work and change no exit code.

They may be closed, full, or of an encoding that lacks a character of what is written.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from harness.support.terminal import escaped

_MOVES = re.compile(r"(?:\r|\n|\x1b\[A)+")
"""What the progress bars of libraries begin a line with."""


class SafeStream:
    """Writes to ``stream`` until that fails, and keeps why it did.

    What a terminal would obey or hide is written out, whoever it comes from; progress bars of
    libraries may move the cursor, and ``styled`` takes everything. A pipe whose reader has gone
    still raises: there is nobody to go on for.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.failure: OSError | None = None

    @property
    def styled(self) -> StyledStream:
        """The same for text that is escaped already."""
        return StyledStream(self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """See ``io.TextIOBase``."""
        moves = _MOVES.match(text)
        start = moves.end() if moves else 0
        self.pass_on(text[:start] + escaped(text[start:]))
        return len(text)

    def pass_on(self, text: str) -> None:
        """Write ``text`` as it is."""
        if self.failure is None:
            try:
                self.stream.write(text)
            except BrokenPipeError:
                raise
            except OSError as error:
                self.failure = error

    def flush(self) -> None:
        """See ``io.IOBase``."""
        if self.failure is None:
            try:
                self.stream.flush()
            except BrokenPipeError:
                raise
            except OSError as error:
                self.failure = error

    def drop(self) -> None:
        """Lead what is still buffered nowhere: Python would end with an exit code of its own."""
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())
            os.close(nowhere)


class StyledStream:
    """Writes to ``safe`` without escaping."""

    def __init__(self, safe: SafeStream) -> None:
        self._safe = safe

    def __getattr__(self, name: str) -> Any:
        return getattr(self._safe, name)

    def write(self, text: str) -> int:
        """See ``io.TextIOBase``."""
        self._safe.pass_on(text)
        return len(text)


@contextmanager
def safe_streams() -> Iterator[SafeStream]:
    """Standard output, which like standard error is safe to write to for a while."""
    _open_closed()
    before = sys.stdout, sys.stderr
    streams = output, errors = SafeStream(before[0]), SafeStream(before[1])
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = cast("TextIO", output), cast("TextIO", errors)
    try:
        yield output
    finally:
        sys.stdout, sys.stderr = before
        for stream in streams:
            try:
                stream.flush()
            except BrokenPipeError as error:
                stream.failure = error
            if stream.failure:
                stream.drop()


def _open_closed() -> None:
    """Open what is closed: the next file would take its place and be written to."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, mode, closefd=False))
