"""Which folders the models of one run are saved to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from harness.checkpoints.atomic_folder import require_free
from harness.checkpoints.manifest import is_saved
from harness.checkpoints.saved_record import read_saved_record
from harness.errors import UsageError
from harness.records.spec import CacheForm


def save_targets(
    folder: Path,
    models: Sequence[tuple[str, str]],
    force: bool,
    cache: CacheForm = "expanded",
) -> list[Path | None]:
    """A folder for each of ``models``, None where the very same model is saved already.

    Args:
        folder: of the model if there is one, else of their folders.
        models: name and digest (see ``harness.records.provenance.compression_digest``) of each.
        force: replace saved models, the same ones too.
        cache: what their KV caches are to store.

    Raises:
        UsageError: a folder holds something else, or another model without ``force``.
    """
    folder = folder.expanduser().resolve()
    if len(models) == 1:
        return [_target(folder, models[0][1], force, cache)]
    if is_saved(folder):
        raise UsageError(
            f"{folder} holds one saved model and {len(models)} are to be saved; pass another folder"
        )
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; pass a folder")
    folders = [folder / re.sub(r"[^\w.=+]+", "-", name).strip("-") for name, _ in models]
    return [
        _target(target, digest, force, cache)
        for target, (_, digest) in zip(folders, models, strict=True)
    ]


def _target(folder: Path, digest: str, force: bool, cache: CacheForm) -> Path | None:
    if not force and is_saved(folder):
        there = read_saved_record(folder)
        latent = there.compression.cache is not None
        if there.origin.compression_digest == digest and latent == (cache == "latent"):
            return None
    require_free(folder, force)
    return folder
