"""Which parts of a model stay on disk."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from transformers import PreTrainedModel

from harness.families.family import Family

DeviceMap = dict[str, str]
"""A device or ``disk`` by dotted path of module or tensor, as transformers' ``device_map``."""


def blocks_on_disk(model: PreTrainedModel, family: Family, device: str) -> DeviceMap:
    """Every block of every stack on disk, all else on ``device``; ``model`` needs no values."""
    blocks = {block.name for block in family.all_blocks(model)}

    def entries(path: str, module: nn.Module) -> Iterator[tuple[str, str]]:
        if path in blocks:
            yield path, "disk"
        elif path and not any(block.startswith(f"{path}.") for block in blocks):
            yield path, device
        else:
            for name, _ in module.named_parameters(path, recurse=False):
                yield name, device
            for name, child in module.named_children():
                yield from entries(f"{path}.{name}" if path else name, child)

    return dict(entries("", model))
