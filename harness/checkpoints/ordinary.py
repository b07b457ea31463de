"""The ordinary model that a compressed one stands for, without values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, PreTrainedModel

from harness.checkpoints.dense_tensors import DenseTensors, parts_of
from harness.checkpoints.save import plain_configuration
from harness.errors import UsageError
from harness.families.stack import Block
from harness.layers.pruned import KeptColumns, KeptRows
from harness.models.language_model import LanguageModel


@dataclass(frozen=True)
class OrdinaryModel:
    """A model of the original architecture.

    Attributes:
        model: on the meta device, in the dtype of the compressed one.
        tensors: its values by their names.
        widths: neurons of each block of its decoder.
    """

    model: PreTrainedModel
    tensors: DenseTensors
    widths: tuple[int, ...]


def ordinary_model(subject: LanguageModel, *, unequal: bool = False) -> OrdinaryModel:
    """What ``subject`` is with its factors multiplied out.

    An MLP that has lost neurons is as narrow as it is wherever all blocks of a stack have one
    width and the configuration has a place for that; elsewhere it has its neurons back, as zeros.

    Args:
        subject: a model, compressed or not, in memory or with its blocks on disk.
        unequal: leave MLPs of the decoder as narrow as they are even if no configuration can say
            so.

    Raises:
        UsageError: a layer got a bias that the architecture has no place for.
    """
    model = subject.model
    config = AutoConfig.for_model(**plain_configuration(model))
    with torch.device("meta"):
        made: Any = type(model)(config)
    _require_places(model, made)
    narrow: set[str] = set()
    for stack in filter(None, (subject.family.language, subject.family.vision)):
        blocks = [block for block in subject.family.all_blocks(made) if block.stack is stack]
        widths = {_width(model, block) for block in blocks}
        if stack.width and len(widths) == 1:
            setattr(stack.own_config(made), stack.width, *widths)
        elif not (unequal and stack is subject.family.language):
            continue
        for block in blocks:
            narrow.update(_narrowed(model, block))
    return OrdinaryModel(
        made.to(model.dtype),
        DenseTensors(model, narrow),
        tuple(_width(made, block) for block in subject.family.blocks(made)),
    )


def _width(model: PreTrainedModel, block: Block) -> int:
    """Neurons of ``block`` as ``model`` has it."""
    path = block.stack.path("down")
    down = model.get_submodule(f"{block.name}.{path}")
    if isinstance(down, KeptColumns):
        return down.rank
    dense = block.module.get_submodule(path)
    assert isinstance(dense, nn.Linear)
    return dense.in_features


def _narrowed(model: PreTrainedModel, block: Block) -> Iterator[str]:
    """Paths of the layers of ``block`` that it now has in the sizes that ``model`` has left."""
    for role in block.stack.layers:
        path = block.stack.path(role)
        pruned = model.get_submodule(f"{block.name}.{path}")
        if isinstance(pruned, (KeptRows, KeptColumns)):
            d_out, d_in = pruned.weight.shape
            linear = nn.Linear(d_in, d_out, pruned.bias is not None, device="meta")
            block.module.set_submodule(path, linear)
            yield f"{block.name}.{path}"


def _require_places(model: PreTrainedModel, ordinary: PreTrainedModel) -> None:
    """Raise ``UsageError`` where a layer has a bias that ``ordinary`` has none for."""
    for path, like in ordinary.named_modules():
        if not isinstance(like, nn.Linear) or like.bias is not None:
            continue
        if any(part.bias is not None for part in parts_of(model, path).values()):
            raise UsageError(
                f"{path} got a bias, for which a {ordinary.config.model_type} model has no place; "
                "compress with --bias-update auto or never to export"
            )
