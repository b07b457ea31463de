"""Panics of native libraries, and plugins that end the interpreter.

What a library in Rust raises when it fails an assertion of its own is no ``Exception``, and passes
every handler of ordinary errors, after a report of its own on standard error.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

INTERRUPTS = (KeyboardInterrupt, GeneratorExit)
"""What is no failure among all that can be raised."""
STDERR = 2


@contextmanager
def panics_unreported() -> Iterator[None]:
    """Keep what a native library says of its panic from standard error; all else is shown."""
    try:
        kept = os.dup(STDERR)
    except OSError:  # it is closed: nothing can be said
        yield
        return
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), STDERR)
        panicked = False
        try:
            yield
        except BaseException as error:
            panicked = not isinstance(error, (Exception, *INTERRUPTS))
            raise
        finally:
            os.dup2(kept, STDERR)
            os.close(kept)
            if not panicked:
                said.seek(0)
                with suppress(OSError):
                    os.write(STDERR, said.read())
