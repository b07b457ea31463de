"""Let lmms-eval work in this process without a trace and without a word."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import Any

import torch.distributed.distributed_c10d as process_groups
from PIL import ImageFile

from harness.plugin import UsageError
from tasks.eval_libraries.heard import Heard
from tasks.eval_libraries.output import quiet
from tasks.eval_libraries.replacing import replaced

PACKAGE = "lmms_eval"
INSTALL = (
    'pip install --constraint constraints.txt ".[vlm]" && '
    "pip install --constraint constraints.txt --no-deps lmms-eval"
)
"""lmms-eval itself comes without its dependencies: they bring a torchvision for CUDA."""


def require_installed() -> None:
    """Raise ``UsageError`` unless lmms-eval and what it always needs are there."""
    missing = [name for name in (PACKAGE, "loguru", "tenacity") if find_spec(name) is None]
    if missing:
        raise UsageError(f"{missing[0]} is not installed; install it with: {INSTALL}")


@contextmanager
def contained(heard: Heard | None = None) -> Iterator[None]:
    """Undo on the way out what lmms-eval does to the whole process, and keep it silent.

    What it warns of goes to ``heard``.

    Importing it silences every warning, replaces loguru's handlers by one on standard output,
    lets PIL accept truncated images and multiplies torch's timeouts.
    """
    timeout, truncated = process_groups.default_pg_timeout, ImageFile.LOAD_TRUNCATED_IMAGES
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        if heard is None:
            warnings.simplefilter("ignore")
        stack.enter_context(_loguru_unchanged(heard or Heard()))
        stack.enter_context(quiet())
        # Some data sets of lmms-eval hold truncated images.
        ImageFile.LOAD_TRUNCATED_IMAGES = True
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = truncated
            process_groups.default_pg_timeout = timeout


@contextmanager
def _loguru_unchanged(heard: Heard) -> Iterator[None]:
    from loguru import logger  # noqa: PLC0415

    def hear(message: object, *values: Any, **named: Any) -> None:
        text = str(message)
        heard.hear(PACKAGE, text.format(*values, **named) if values or named else text)

    # The modules of its tasks have any name, so only silencing all of them silences them.
    logger.disable("")
    with (
        replaced(logger, "remove", lambda *_: None),
        replaced(logger, "add", lambda *_, **__: 0),
        replaced(logger, "warning", hear),
        replaced(logger, "error", hear),
    ):
        try:
            yield
        finally:
            logger.enable("")
