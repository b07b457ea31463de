"""What belongs to a model folder, and whether it is whole."""

from __future__ import annotations

import logging
import zipfile
from functools import cache
from pathlib import Path

from safetensors import SafetensorError, safe_open

from harness.assets.weight_files import Weights, opened_weights
from harness.errors import AssetError

_log = logging.getLogger(__name__)

TOKENIZERS = (
    "tokenizer*",
    "*.model",
    "vocab.*",
    "vocab-*.json",
    "*_vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "bpe.codes",
    "byte_maps.json",
    "dict.txt",
    "emoji.json",
    "normalizer.json",
    "prophetnet.tokenizer",
    "*.spm",
    "tekken.json",
    "word_*.json",
)
"""Every name under which a tokenizer of transformers looks for its vocabulary."""
WITHOUT_WEIGHTS = (
    "config.json",
    "generation_config.json",
    "model.safetensors.index.json",
    "pytorch_model.bin.index.json",
    *TOKENIZERS,
    "chat_template.*",
    "additional_chat_templates/*.jinja",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "audio_tokenizer_config.json",
    "processor_config.json",
)
OURS = (
    "harness.json",
    "record.json",
    "modeling_harness.py",
    "README.md",
    "LICENSE*",
    "LICENCE*",
    "NOTICE*",
)
"""What else belongs to a compressed model that the harness saved; the code in it is never run."""
WEIGHTS = ("model*.safetensors",)
PICKLES = ("pytorch_model*.bin",)
PICKLE_NOTE = "weights read from a pickle (*.bin), which runs no code but has no safetensors"
ADAPTER = "adapter_config.json"


def model_files(folder: Path) -> list[Path]:
    """The files that make a model: weights, configuration and tokenizer.

    Never fewer than transformers opens. Pickled weights count only where there are no
    safetensors.
    """
    opened = opened_weights(folder)
    beside = _matching(folder, WEIGHTS) or _matching(folder, PICKLES)
    index = [opened.index] if opened.index else []
    return sorted({*_matching(folder, WITHOUT_WEIGHTS), *opened.files, *index, *beside})


def check_folder(folder: Path) -> tuple[str, ...]:
    """Check that a model's weights are all there and whole; return notes for the record.

    Only headers are read.

    Raises:
        AssetError: weights are missing or truncated, or an adapter would be added to them.
    """
    _refuse_adapter(folder)
    weights = opened_weights(folder)
    if not weights.files:
        raise AssetError(
            f"{folder} holds no weights (model.safetensors or model.safetensors.index.json, or "
            "pytorch_model*.bin); fetch or copy the model again"
        )
    for file in weights.files:
        if file.suffix == ".safetensors":
            _check_safetensors(file)
        else:
            _check_pickle(file)
    pickled = (PICKLE_NOTE,) if weights.files[0].suffix == ".bin" else ()
    return (*pickled, *_left_aside(folder, weights))


def _refuse_adapter(folder: Path) -> None:
    """Transformers would add it to the weights without a word wherever peft is installed."""
    if (folder / ADAPTER).exists():
        raise AssetError(
            f"{folder / ADAPTER} is an adapter, which is not part of the weights here; merge it "
            "into them (merge_and_unload of peft, then save_pretrained), or move it elsewhere"
        )


def _left_aside(folder: Path, weights: Weights) -> tuple[str, ...]:
    """A note where other safetensors lie beside those that are read."""
    others = [file.name for file in _matching(folder, WEIGHTS) if file not in weights.files]
    if not others:
        return ()
    read = (weights.index or weights.files[0]).name
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    note = f"weights read from {read}, not from {others[0]}{more} beside it"
    _warn_once(f"{folder}: {note}")
    return (note,)


@cache
def _warn_once(message: str) -> None:
    _log.warning(message)


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


def _damaged(file: Path, why: str) -> AssetError:
    return AssetError(f"{file} is truncated or damaged ({why}); fetch or copy it again")
