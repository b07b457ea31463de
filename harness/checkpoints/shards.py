"""Weights as safetensors of bounded size, written while they come."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from harness.support.files import file_aside

SHARD_BYTES = 5_000_000_000
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"


def write_shards(
    tensors: Iterable[tuple[str, Tensor]], folder: Path, shard_bytes: int = SHARD_BYTES
) -> None:
    """Write ``tensors`` to ``folder`` in the order they come, as transformers names such files.

    Never more than one shard is held, so that the tensors may be made on the way. A tensor larger
    than ``shard_bytes`` has a shard of its own.
    """
    shards: list[list[str]] = []
    batch: dict[str, Tensor] = {}
    size = total = 0

    def flush() -> None:
        nonlocal batch, size
        with file_aside(_part(folder, len(shards))) as aside:
            save_file(batch, aside, metadata={"format": "pt"})
        shards.append(list(batch))
        batch, size = {}, 0

    for name, tensor in tensors:
        count = tensor.numel() * tensor.element_size()
        if batch and size + count > shard_bytes:
            flush()
        batch[name] = tensor.detach().contiguous()
        size, total = size + count, total + count
    flush()
    if len(shards) == 1:
        _part(folder, 0).rename(folder / SINGLE)
        return
    weight_map: dict[str, str] = {}
    for position, names in enumerate(shards):
        final = f"model-{position + 1:05}-of-{len(shards):05}.safetensors"
        _part(folder, position).rename(folder / final)
        weight_map |= dict.fromkeys(names, final)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


def _part(folder: Path, position: int) -> Path:
    return folder / f"part-{position:05}.safetensors"
