"""Reading a GGUF file: its tensors under the names and layout transformers expects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import torch
from transformers import PreTrainedConfig

from harness.errors import AssetError, UsageError

ARCHITECTURES = ("llama", "qwen2", "qwen3")
"""Architectures whose conversion is known to be exact."""

_HALF = {"F16": torch.float16, "BF16": torch.bfloat16}
_NOT_BLOCKS = {"F32", "F64", *_HALF}


@dataclass(frozen=True)
class GgufFile:
    """An opened GGUF file; tensors are memory mapped until they are dequantised."""

    path: Path
    reader: Any
    architecture: str

    def value(self, key: str) -> Any:
        """A value of the metadata, None where it is absent."""
        field = self.reader.get_field(key)
        return field.contents() if field else None

    def main_type(self) -> str:
        """The storage type that holds most weights, e.g. ``Q4_1``."""
        sizes: Counter[str] = Counter()
        for tensor in self.reader.tensors:
            sizes[tensor.tensor_type.name] += int(tensor.n_elements)
        return sizes.most_common(1)[0][0]

    def is_quantised(self) -> bool:
        """Whether any tensor is stored in quantised blocks."""
        return any(t.tensor_type.name not in _NOT_BLOCKS for t in self.reader.tensors)


def open_gguf(path: Path) -> GgufFile:
    """Read the header of a GGUF file and check that all of it is there.

    Raises:
        AssetError: the file is truncated or no GGUF file.
        UsageError: its architecture, or the way it scales rotary positions, is not supported.
    """
    try:
        reader = gguf.GGUFReader(path)
        architecture = str(reader.fields["general.architecture"].contents())
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        raise AssetError(
            f"{path} is truncated or not a GGUF file ({error}); fetch or copy it again"
        ) from error
    if architecture not in ARCHITECTURES:
        raise UsageError(
            f"{path} holds the architecture '{architecture}'; GGUF files of "
            f"{', '.join(ARCHITECTURES)} are supported; pass the original model folder instead"
        )
    file = GgufFile(path, reader, architecture)
    frequencies = any(tensor.name == "rope_freqs.weight" for tensor in reader.tensors)
    if frequencies or file.value(f"{architecture}.rope.scaling.type") not in {None, "none"}:
        raise UsageError(
            f"{path} scales its rotary positions, which cannot be converted exactly; "
            "pass the original model folder instead"
        )
    return file


def read_tensors(
    file: GgufFile, shapes: Mapping[str, torch.Size], config: PreTrainedConfig
) -> dict[str, torch.Tensor]:
    """Dequantise the tensors a model needs.

    The result is float32, or the file's own 16-bit type if no value changes by that.

    Args:
        file: the opened file.
        shapes: the model's parameters by name, tied ones once.
        config: the model's, for the head counts.

    Raises:
        AssetError: the file lacks a parameter, or has it in another shape.
        UsageError: it holds tensors this model has no place for.
    """
    stored = {tensor.name: tensor for tensor in file.reader.tensors}
    wanted = {_gguf_name(file, name, config): name for name in shapes}
    if missing := sorted(set(wanted) - set(stored)):
        raise AssetError(
            f"{file.path} is incomplete: it lacks the tensor '{missing[0]}'; fetch or copy it again"
        )
    if extra := sorted(set(stored) - set(wanted)):
        raise UsageError(
            f"{file.path} holds the tensor '{extra[0]}', which {config.model_type} has no place "
            "for; pass the original model folder instead"
        )
    for source, name in wanted.items():
        if (actual := tuple(reversed(stored[source].shape.tolist()))) != shapes[name]:
            raise AssetError(
                f"{file.path} has '{source}' in the shape {actual}, but its own metadata asks for "
                f"{tuple(shapes[name])}; pass the original model folder instead"
            )
    tensors = {name: _dequantise(file, stored[source], config) for source, name in wanted.items()}
    return _narrowed(tensors, file.main_type())


def _gguf_name(file: GgufFile, name: str, config: PreTrainedConfig) -> str:
    arch = next(a for a, text in gguf.MODEL_ARCH_NAMES.items() if text == file.architecture)
    names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    return str(names.get_name(name, try_suffixes=(".weight", ".bias")))


def _dequantise(file: GgufFile, tensor: Any, config: PreTrainedConfig) -> torch.Tensor:
    values = torch.from_numpy(gguf.dequantize(tensor.data, tensor.tensor_type).copy()).float()
    if file.architecture == "llama" and ".attn_q." in tensor.name:
        return _unpermuted(values, config.num_attention_heads)
    if file.architecture == "llama" and ".attn_k." in tensor.name:
        return _unpermuted(values, config.num_key_value_heads)
    return values


def _unpermuted(rows: torch.Tensor, heads: int) -> torch.Tensor:
    """Undo llama.cpp's interleaving of the two rotary halves of each head."""
    paired = rows.reshape(heads, rows.shape[0] // heads // 2, 2, *rows.shape[1:])
    return paired.transpose(1, 2).reshape(rows.shape).contiguous()


def _narrowed(tensors: dict[str, torch.Tensor], main_type: str) -> dict[str, torch.Tensor]:
    if main_type not in _HALF:
        return tensors
    halves = {name: tensor.to(_HALF[main_type]) for name, tensor in tensors.items()}
    exact = all(torch.equal(halves[name].float(), tensors[name]) for name in tensors)
    return halves if exact else tensors
