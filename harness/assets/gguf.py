"""GGUF files become ordinary model folders, dequantised once and cached."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from tokenizers import pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedConfig

from harness.assets.cache import disk_full
from harness.assets.entries import cached
from harness.assets.gguf_reading import ARCHITECTURES, GgufFile, open_gguf, read_tensors
from harness.assets.hashing import file_sha256
from harness.assets.kinds import ModelAsset
from harness.errors import UsageError
from harness.records.document import digest
from harness.support.files import file_aside

_CONVERSION = 1
"""Raise it when the folder made from the same file changes."""
_NOTE = "note.txt"
_DEQUANTISED = "dequantised from "


def convert_gguf(path: Path, reference: str) -> ModelAsset:
    """The model folder made from a GGUF file.

    Args:
        path: the GGUF file.
        reference: what the user asked for.

    Raises:
        AssetError: the file is truncated or no GGUF file.
        UsageError: its architecture is not supported.
        InfrastructureError: the disk is full or the cache cannot be written.
    """
    fingerprint = digest({"gguf": file_sha256(path), "conversion": _CONVERSION})
    folder = cached("models", fingerprint, lambda folder: _convert(path, folder), reference)
    note = (folder / _NOTE).read_text(encoding="utf-8")
    file_type = note.removeprefix(_DEQUANTISED)
    precision = file_type if file_type != note else None
    return ModelAsset(reference, folder, fingerprint, (note,), precision)


def _convert(path: Path, folder: Path) -> None:
    file = open_gguf(path)
    with _alone(path) as source:
        config, tokenizer = _config(file, source), _tokenizer(file, source)
    # Without storage: only the names of the parameters are needed.
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    tensors = read_tensors(file, shapes, config)
    config.dtype = next(iter(tensors.values())).dtype
    config.architectures = [type(model).__name__]
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _save(tensors, folder / "model.safetensors")
    made = _DEQUANTISED if file.is_quantised() else "converted from "
    (folder / _NOTE).write_text(f"{made}GGUF {file.main_type()}", encoding="utf-8")


@contextmanager
def _alone(path: Path) -> Iterator[dict[str, Any]]:
    """How transformers is to open the file, and none of those it would read beside it."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / path.name).symlink_to(path.resolve())
        yield {"pretrained_model_name_or_path": folder, "gguf_file": path.name}


def _save(tensors: dict[str, torch.Tensor], path: Path) -> None:
    try:
        with file_aside(path) as aside:
            save_file(tensors, aside, metadata={"format": "pt"})
    except SafetensorError as error:
        # The library hides the OSError that cached() would explain.
        if "os error 28" in str(error):
            raise disk_full() from error
        raise


def _config(file: GgufFile, source: dict[str, Any]) -> PreTrainedConfig:
    config: PreTrainedConfig = AutoConfig.from_pretrained(**source)
    if config.model_type not in ARCHITECTURES:
        raise UsageError(
            f"{file.path} is read as '{config.model_type}'; GGUF files of "
            f"{', '.join(ARCHITECTURES)} are supported; pass the original model folder instead"
        )
    # transformers does not read it for qwen3 and would assume 128.
    if head := file.value(f"{file.architecture}.attention.key_length"):
        config.head_dim = head
    config.__dict__.pop("_model_name_or_path", None)
    return config


def _tokenizer(file: GgufFile, source: dict[str, Any]) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(**source)
    tokenizer.name_or_path = ""
    tokenizer.init_kwargs.pop("gguf_file", None)
    if file.value("tokenizer.ggml.pre") == "smollm":
        # transformers knows no rule for 'smollm' and joins digits to what precedes them;
        # the model was trained with each digit apart.
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )
    return tokenizer
