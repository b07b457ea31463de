"""What evaluation libraries write while they work, kept off the terminal."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

TALKATIVE = ("lm_eval", "datasets", "huggingface_hub", "transformers")


@contextmanager
def quiet() -> Iterator[None]:
    """Silence log messages below errors, prints and progress bars.

    The libraries have no switch for bars and prints, so both streams are closed to them.
    """
    with ExitStack() as stack:
        for name in TALKATIVE:
            stack.enter_context(_errors_only(logging.getLogger(name)))
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
def _errors_only(logger: logging.Logger) -> Iterator[None]:
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
