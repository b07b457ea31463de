"""Where a model is saved to: checked first, filled aside, put in place whole."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from harness.checkpoints.manifest import is_saved
from harness.errors import HarnessError, InfrastructureError, UsageError
from harness.support.files import folder_aside, partial_of
from harness.support.locks import flocked

MARGIN = 64_000_000
"""Bytes for what goes with the weights: tokenizer, records, configuration."""


def require_free(folder: Path, force: bool = False) -> None:
    """Check that ``folder`` may be written: absent, empty, or a saved model with ``force``.

    Raises:
        UsageError: it is something else; it is never touched then.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not folder.is_dir() or not is_saved(folder):
        raise UsageError(f"{folder} exists and is no saved model; pass another folder")
    if not force:
        raise UsageError(f"{folder} holds a saved model; pass --force to replace it")


def require_space(folder: Path, weights: int) -> None:
    """Raise ``InfrastructureError`` where ``weights`` bytes have no place on the disk."""
    existing = folder
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < weights + MARGIN:
        raise InfrastructureError(
            f"saving to {folder} takes {(weights + MARGIN) / 1e9:.2f} GB and {free / 1e9:.2f} GB "
            "are free; free some or choose another folder"
        )


@contextlib.contextmanager
def filled_aside(folder: Path, weights: int, force: bool = False) -> Iterator[Path]:
    """An empty folder beside ``folder`` that takes its name if the block ends well.

    What a killed process left there is removed.

    Args:
        folder: an absolute path.
        weights: bytes that will be written, but for ``MARGIN``.
        force: replace a saved model.

    Raises:
        UsageError: ``folder`` may not be replaced, or another process is saving to it.
        InfrastructureError: it cannot be written, or the disk has not the space.
    """
    require_free(folder, force)
    require_space(folder, weights)
    partial = partial_of(folder)
    with _trouble_explained(folder):
        partial.mkdir(parents=True, exist_ok=True)
        with held(partial, folder), folder_aside(folder) as aside:
            require_free(folder, force)  # it may be there again, see ``folder_aside``
            yield aside
            require_free(folder, force)


@contextlib.contextmanager
def held(aside: Path, folder: Path) -> Iterator[None]:
    """Keep other processes from filling ``aside``, which is there, for ``folder``.

    Raises:
        UsageError: one does already.
    """
    with flocked(aside, wait=False) as alone:
        if not alone:
            raise UsageError(f"another process is saving to {folder}; wait for it")
        yield


@contextlib.contextmanager
def _trouble_explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except HarnessError:
        raise
    except (OSError, SafetensorError) as error:
        raise InfrastructureError(
            f"cannot save to {folder} ({error}); free some space or choose another folder"
        ) from error
