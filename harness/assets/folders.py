"""What belongs to a model folder, and whether it is whole."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from safetensors import SafetensorError, safe_open

from harness.errors import AssetError

WITHOUT_WEIGHTS = (
    "config.json",
    "generation_config.json",
    "model.safetensors.index.json",
    "pytorch_model.bin.index.json",
    "tokenizer*",
    "*.model",
    "vocab.*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.*",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "processor_config.json",
)
OURS = ("harness.json", "record.json", "LICENSE*", "LICENCE*", "NOTICE*")
"""What else a compressed model needs that the harness saved."""
WEIGHTS = ("model*.safetensors",)
PICKLES = ("pytorch_model*.bin",)
PICKLE_NOTE = "weights read from a pickle (*.bin), which runs no code but has no safetensors"


def model_files(folder: Path) -> list[Path]:
    """The files that make a model: weights, configuration and tokenizer.

    Pickled weights count only where there are no safetensors.
    """
    weights = _matching(folder, WEIGHTS) or _matching(folder, PICKLES)
    return sorted({*_matching(folder, WITHOUT_WEIGHTS), *weights})


def check_folder(folder: Path) -> tuple[str, ...]:
    """Check that a model's weights are all there and whole; return notes for the record.

    Only headers are read.

    Raises:
        AssetError: weights are missing or truncated.
    """
    if weights := _matching(folder, WEIGHTS):
        for file in weights:
            _check_safetensors(file)
        _check_index(folder / "model.safetensors.index.json")
        return ()
    pickles = _matching(folder, PICKLES)
    if not pickles:
        raise AssetError(
            f"{folder} holds no weights (model*.safetensors, or pytorch_model*.bin); "
            "fetch or copy the model again"
        )
    for file in pickles:
        _check_pickle(file)
    _check_index(folder / "pytorch_model.bin.index.json")
    return (PICKLE_NOTE,)


def _matching(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    return sorted(f for pattern in patterns for f in folder.glob(pattern) if f.is_file())


def _check_safetensors(file: Path) -> None:
    try:
        with safe_open(file, framework="pt") as opened:
            opened.keys()
    except SafetensorError as error:
        raise _damaged(file, str(error)) from error


def _check_pickle(file: Path) -> None:
    with file.open("rb") as stream:
        zipped = stream.read(2) == b"PK"
    # The directory of a zip file stands at its end.
    if file.stat().st_size == 0 or (zipped and not zipfile.is_zipfile(file)):
        raise _damaged(file, "its end is missing")


def _check_index(index: Path) -> None:
    if not index.is_file():
        return
    try:
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise _damaged(index, "it is no list of weights") from error
    for shard in sorted(shards):
        if not (index.parent / shard).is_file():
            raise AssetError(f"{index.parent} lacks {shard}; fetch or copy the model again")


def _damaged(file: Path, why: str) -> AssetError:
    return AssetError(f"{file} is truncated or damaged ({why}); fetch or copy it again")
