"""Which parts of a model stay on disk."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from transformers import PreTrainedModel

from harness.families.family import Family
from harness.families.stack import Block

Places = dict[str, str]
"""A device or ``disk`` by dotted path of module or tensor, as transformers' ``device_map``."""


def blocks_on_disk(model: PreTrainedModel, family: Family, device: str) -> Places:
    """Every block of every stack on disk, all else on ``device``; ``model`` needs no values."""
    blocks = {block.name for block in all_blocks(model, family)}

    def places(path: str, module: nn.Module) -> Iterator[tuple[str, str]]:
        if path in blocks:
            yield path, "disk"
        elif path and not any(block.startswith(f"{path}.") for block in blocks):
            yield path, device
        else:
            for name, _ in module.named_parameters(path, recurse=False):
                yield name, device
            for name, child in module.named_children():
                yield from places(f"{path}.{name}" if path else name, child)

    return dict(places("", model))


def all_blocks(model: PreTrainedModel, family: Family) -> list[Block]:
    """The blocks of all stacks of ``model``."""
    return family.blocks(model, "all" if family.vision else "language")
