"""Which weights of a folder transformers opens: one file or one index, and none of the others."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from harness.errors import AssetError

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLE, PICKLE_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
ORDER = (SINGLE, INDEX, PICKLE, PICKLE_INDEX)
"""The first of these that is there is opened; tested against transformers."""
NAMED = "transformers_weights"
"""Entry of config.json that names another file or index instead."""
NO_WEIGHTS = "import-harness-or-pass-trust_remote_code=True.safetensors"
"""What a saved model names there: no file, so that transformers opens none without our layers."""


@dataclass(frozen=True)
class Weights:
    """The files that hold the weights, and the index that lists them, if one does."""

    files: tuple[Path, ...]
    index: Path | None = None


def opened_weights(folder: Path) -> Weights:
    """What transformers reads weights from; no files where there is nothing to read.

    Raises:
        AssetError: an index is damaged, or names files that are absent or outside the folder.
    """
    named = _named_in_config(folder)
    names = ORDER if named is None else (named,)
    first = next((folder / name for name in names if (folder / name).is_file()), None)
    if named is not None:
        _require_inside(folder, named, folder / "config.json")
        if first is None:
            raise AssetError(f"{folder} lacks {named}, which its config.json names as the weights")
    if first is None:
        return Weights(())
    if not first.name.endswith(".index.json"):
        return Weights((first,))
    return Weights(_listed(first), first)


def _listed(index: Path) -> tuple[Path, ...]:
    try:
        shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        files = [index.parent / shard for shard in shards]
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise AssetError(
            f"{index} is truncated or damaged (it is no list of weights); fetch or copy it again"
        ) from error
    for shard, file in zip(shards, files, strict=True):
        _require_inside(index.parent, shard, index)
        if not file.is_file():
            raise AssetError(f"{index.parent} lacks {shard}; fetch or copy the model again")
    return tuple(files)


def _require_inside(folder: Path, name: str, source: Path) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise AssetError(
            f"{source} names weights outside its folder ({name!r}); fetch or copy {folder} again"
        )


def _named_in_config(folder: Path) -> str | None:
    try:
        config: Any = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    named = config.get(NAMED) if isinstance(config, dict) else None
    return named if isinstance(named, str) and named != NO_WEIGHTS else None
