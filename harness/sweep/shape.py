"""What a model is made of, from its configuration alone: no weight is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

from harness.families.family import Family, family_of
from harness.families.stack import Block
from harness.roles import SITE_OF_ROLE
from harness.spec import Scope


@dataclass(frozen=True)
class BlockShape:
    """One block.

    Attributes:
        weights: of its linear layers.
        attention: query heads times their size.
        sites: width of each distinct activation that its layers read.
        mlp_width: of the input of its MLP.
    """

    weights: int
    attention: int
    sites: tuple[int, ...]
    mlp_width: int


@dataclass(frozen=True)
class Shape:
    """A model.

    Attributes:
        parameters: all, those that are shared once.
        head: weights of the output head, counted whether or not they are the embedding's.
        decoder: its blocks.
        compressed: the blocks within a scope.
    """

    parameters: int
    head: int
    decoder: tuple[BlockShape, ...]
    compressed: tuple[BlockShape, ...]


def shape_of(folder: Path, scope: Scope) -> Shape:
    """The model in ``folder`` with what is compressed within ``scope``.

    Raises:
        UsageError: its family is unknown, or has nothing in ``scope``.
    """
    config = AutoConfig.from_pretrained(folder)
    family = family_of(config)
    opener: Any = AutoModelForImageTextToText if family.vision else AutoModelForCausalLM
    with torch.device("meta"):
        model = opener.from_config(config)
    head = model.get_output_embeddings()
    return Shape(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        head=0 if head is None else head.weight.numel(),
        decoder=_blocks(model, family, "language"),
        compressed=_blocks(model, family, scope),
    )


def _blocks(model: Any, family: Family, scope: Scope) -> tuple[BlockShape, ...]:
    return tuple(_block(model, block) for block in family.blocks(model, scope))


def _block(model: Any, block: Block) -> BlockShape:
    found = block.weights(model)
    widths = {SITE_OF_ROLE[role]: layer.weight.shape[1] for role, layer in found.layers.items()}
    weights: Sequence[int] = [layer.weight.numel() for layer in found.layers.values()]
    return BlockShape(
        weights=sum(weights),
        attention=found.attention.heads * found.attention.head_size,
        sites=tuple(widths.values()),
        mlp_width=widths["mlp_input"],
    )
