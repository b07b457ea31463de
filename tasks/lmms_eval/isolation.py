"""Let lmms-eval work in this process without a trace and without a word."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec

import torch.distributed.distributed_c10d as process_groups
from PIL import ImageFile

from harness.plugin import UsageError
from tasks.eval_libraries.output import quiet
from tasks.eval_libraries.replacing import replaced

INSTALL = (
    'pip install --constraint constraints.txt ".[vlm]" && '
    "pip install --constraint constraints.txt --no-deps lmms-eval"
)
"""lmms-eval itself comes without its dependencies: they bring a torchvision for CUDA."""


def require_installed() -> None:
    """Raise ``UsageError`` unless lmms-eval and what it always needs are there."""
    missing = [name for name in ("lmms_eval", "loguru", "tenacity") if find_spec(name) is None]
    if missing:
        raise UsageError(f"{missing[0]} is not installed; install it with: {INSTALL}")


@contextmanager
def contained() -> Iterator[None]:
    """Undo on the way out what lmms-eval does to the whole process, and keep it silent.

    Importing it silences every warning, replaces loguru's handlers by one on standard output,
    lets PIL accept truncated images and multiplies torch's timeouts.
    """
    timeout, truncated = process_groups.default_pg_timeout, ImageFile.LOAD_TRUNCATED_IMAGES
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(_loguru_unchanged())
        stack.enter_context(quiet())
        # Some data sets of lmms-eval hold truncated images.
        ImageFile.LOAD_TRUNCATED_IMAGES = True
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = truncated
            process_groups.default_pg_timeout = timeout


@contextmanager
def _loguru_unchanged() -> Iterator[None]:
    from loguru import logger  # noqa: PLC0415

    # The modules of its tasks have any name, so only silencing all of them silences them.
    logger.disable("")
    with (
        replaced(logger, "remove", lambda *_: None),
        replaced(logger, "add", lambda *_, **__: 0),
    ):
        try:
            yield
        finally:
            logger.enable("")
