"""Write a model as a GGUF file, which llama.cpp and all that is built on it run."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import gguf
import numpy as np
import torch
from torch import Tensor

from harness.checkpoints.atomic_folder import require_space
from harness.checkpoints.gguf_architecture import add_architecture, architecture_of, in_order
from harness.checkpoints.gguf_tokenizer import add_tokenizer
from harness.checkpoints.ordinary import OrdinaryModel, ordinary_model
from harness.errors import UsageError
from harness.models.language_model import LanguageModel
from harness.support.files import cannot_write, file_aside

FileType = Literal["f32", "f16", "q8_0"]
"""How matrices are stored; vectors are float32 always."""

_STORED: Mapping[FileType, gguf.GGMLQuantizationType] = {
    "f32": gguf.GGMLQuantizationType.F32,
    "f16": gguf.GGMLQuantizationType.F16,
    "q8_0": gguf.GGMLQuantizationType.Q8_0,
}
_NAMED: Mapping[FileType, gguf.LlamaFileType] = {
    "f32": gguf.LlamaFileType.ALL_F32,
    "f16": gguf.LlamaFileType.MOSTLY_F16,
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
}


@torch.no_grad()
def export_gguf(subject: LanguageModel, file: str | Path, file_type: FileType = "f16") -> Path:
    """Multiply all factors out, in float64, and write the result as one GGUF file.

    One tensor at a time is held. MLPs that have lost neurons are as narrow as they are.

    Args:
        subject: a Llama, Qwen2 or Qwen3 model, compressed or not, in memory or with its blocks on
            disk.
        file: where to; it ends in ``.gguf`` and is not there yet.
        file_type: how matrices are stored.

    Returns:
        The file.

    Raises:
        UsageError: the name is taken or does not end in ``.gguf``, or llama.cpp has no place for
            the architecture, for its tokenizer or for a layer.
        InfrastructureError: there is not enough space, or the file cannot be written.
    """
    target = Path(file).expanduser().resolve()
    if target.suffix != ".gguf":
        raise UsageError(f"{target} does not end in .gguf; pass a name that does")
    if target.exists():
        raise UsageError(f"{target} exists; pass another file")
    ordinary = ordinary_model(subject, "any")
    architecture = architecture_of(subject.family, ordinary)
    tensors = _shapes(ordinary, architecture)
    _require_blocks(tensors, file_type)
    require_space(target, sum(_size(shape, file_type) for _, shape in tensors.values()))
    try:
        with file_aside(target) as aside, closing(gguf.GGUFWriter(aside, architecture)) as writer:
            writer.add_file_type(_NAMED[file_type])
            writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
            add_architecture(writer, subject.family, ordinary)
            add_tokenizer(writer, subject.tokenizer, ordinary.model.config.vocab_size)
            for name, (_, shape) in tensors.items():
                stored = _type_of(shape, file_type)
                size = _size(shape, file_type)
                writer.add_tensor_info(name, shape, np.dtype(np.float32), size, stored)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            for name, (own_name, shape) in tensors.items():
                values = in_order(name, ordinary.tensors[own_name], ordinary, architecture)
                writer.write_tensor_data(_encoded(own_name, values, _type_of(shape, file_type)))
    except OSError as error:
        raise cannot_write(target, error) from error
    return target


def _shapes(ordinary: OrdinaryModel, architecture: str) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name in the file of every tensor, with its own name and shape."""
    kind = next(kind for kind, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(kind, len(ordinary.widths))
    return {
        str(names.get_name(name, try_suffixes=(".weight", ".bias"))): (name, tuple(tensor.shape))
        for name, tensor in ordinary.model.named_parameters()
    }


def _require_blocks(
    tensors: Mapping[str, tuple[str, tuple[int, ...]]], file_type: FileType
) -> None:
    """Raise ``UsageError`` where a row cannot be cut into the blocks of ``file_type``."""
    for name, (own_name, shape) in tensors.items():
        block, _ = gguf.GGML_QUANT_SIZES[_type_of(shape, file_type)]
        if shape[-1] % block:
            narrower = f"compress with --multiple {block}, or " if ".ffn_down." in name else ""
            raise UsageError(
                f"{own_name} has rows of {shape[-1]} numbers, of which {file_type} stores {block} "
                f"together; {narrower}pass --type f16"
            )


def _type_of(shape: tuple[int, ...], file_type: FileType) -> gguf.GGMLQuantizationType:
    return _STORED[file_type] if len(shape) > 1 else gguf.GGMLQuantizationType.F32


def _size(shape: tuple[int, ...], file_type: FileType) -> int:
    """Bytes of a tensor in the file."""
    block, size = gguf.GGML_QUANT_SIZES[_type_of(shape, file_type)]
    return int(np.prod(shape)) // block * size


def _encoded(name: str, values: Tensor, stored: gguf.GGMLQuantizationType) -> Any:
    """The bytes of a tensor.

    Raises:
        UsageError: a number is too large for half precision.
    """
    numbers = values.float().contiguous().numpy()
    if stored == gguf.GGMLQuantizationType.F32:
        return numbers
    if np.abs(numbers).max() > np.finfo(np.float16).max:
        raise UsageError(f"{name} holds numbers too large for float16; pass --type f32")
    return gguf.quantize(numbers, stored)
