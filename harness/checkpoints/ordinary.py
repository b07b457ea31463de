"""The ordinary model that a compressed one stands for, without values."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from transformers import AutoConfig, PreTrainedModel

from harness.checkpoints.dense_tensors import DenseTensors, parts_of
from harness.checkpoints.save import plain_configuration
from harness.errors import UsageError
from harness.families.stack import Block, Stack
from harness.layers.pruned import KeptColumns, KeptRows
from harness.models.language_model import LanguageModel

Widths = Literal["dense", "one", "any"]
"""What becomes of MLPs that have lost neurons.

dense: they have them back, as zeros. one: they are as narrow as they are, in every block equally,
which is what a configuration can say. any: each is as narrow as it is.
"""


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


def ordinary_model(subject: LanguageModel, widths: Widths) -> OrdinaryModel:
    """What ``subject`` is with its factors multiplied out.

    Args:
        subject: a model, compressed or not, in memory or with its blocks on disk.
        widths: of MLPs that have lost neurons.

    Raises:
        UsageError: a layer got a bias that the architecture has no place for, or MLPs cannot be
            narrow in the way of ``widths``.
    """
    model = subject.model
    config = AutoConfig.for_model(**plain_configuration(model))
    with torch.device("meta"):
        made: Any = type(model)(config)
    _require_places(model, made)
    narrow: set[str] = set()
    for stack in filter(None, (subject.family.language, subject.family.vision)):
        blocks = [block for block in subject.family.all_blocks(made) if block.stack is stack]
        pruned = {path for block in blocks for path in _pruned(model, block)}
        if widths == "dense" or not pruned:
            continue
        sizes = {_width(model, block) for block in blocks}
        if widths == "one":
            _require_one(stack, sizes, str(config.model_type))
        if stack.width and len(sizes) == 1:
            setattr(stack.own_config(made), stack.width, *sizes)
        for block in blocks:
            _narrow(model, block)
        narrow |= pruned
    if widths == "one" and not narrow:
        raise UsageError(
            "no block has lost neurons, so that nothing can be left out; compress with --method "
            "twinroot --neurons only --ranks uniform, or pass --dense"
        )
    return OrdinaryModel(
        made.to(model.dtype),
        DenseTensors(model, narrow),
        tuple(_width(made, block) for block in subject.family.blocks(made)),
    )


def _require_one(stack: Stack, sizes: Collection[int], kind: str) -> None:
    """Raise ``UsageError`` where a configuration cannot say how wide the blocks are."""
    if not stack.width:
        raise UsageError(
            f"the configuration of a {kind} model has no place for the width of the MLPs that have "
            "lost neurons; compress another part (--scope), or pass --dense"
        )
    if len(sizes) > 1:
        raise UsageError(
            f"the blocks have {min(sizes)} to {max(sizes)} neurons, and the configuration of a "
            f"{kind} model has one number for all; compress with --ranks uniform, or pass --gguf "
            "or --dense"
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


def _pruned(model: PreTrainedModel, block: Block) -> Iterator[str]:
    """Paths of the layers of ``block`` that have lost rows or columns in ``model``."""
    for role in block.stack.layers:
        path = f"{block.name}.{block.stack.path(role)}"
        if isinstance(model.get_submodule(path), (KeptRows, KeptColumns)):
            yield path


def _narrow(model: PreTrainedModel, block: Block) -> None:
    """Give ``block`` linear layers of the sizes that ``model`` has left."""
    for path in _pruned(model, block):
        pruned: Any = model.get_submodule(path)
        d_out, d_in = pruned.weight.shape
        linear = nn.Linear(d_in, d_out, pruned.bias is not None, device="meta")
        block.module.set_submodule(path.removeprefix(f"{block.name}."), linear)


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
