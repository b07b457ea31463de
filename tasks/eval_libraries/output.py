"""What evaluation libraries write while they work, kept off the terminal."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from tasks.eval_libraries.heard import SPEAKERS, Ear


@contextmanager
def quiet() -> Iterator[None]:
    """Silence log messages, prints and progress bars; who listens to messages still hears them.

    The libraries have no switch for bars and prints, so both streams are closed to them.
    """
    with ExitStack() as stack:
        for name in SPEAKERS:
            stack.enter_context(_only_heard(logging.getLogger(name)))
        nowhere = stack.enter_context(Path(os.devnull).open("w"))
        stack.enter_context(redirect_stdout(nowhere))
        stack.enter_context(redirect_stderr(nowhere))
        yield


@contextmanager
def on_stderr() -> Iterator[None]:
    """Let everything through, but keep standard output for results."""
    with redirect_stdout(sys.stderr):
        yield


@contextmanager
def _only_heard(logger: logging.Logger) -> Iterator[None]:
    handlers, propagate = logger.handlers, logger.propagate
    # Without any handler at all Python would print what is logged.
    logger.handlers = [ear for ear in handlers if isinstance(ear, Ear)] or [logging.NullHandler()]
    logger.propagate = False
    try:
        yield
    finally:
        logger.handlers, logger.propagate = handlers, propagate
