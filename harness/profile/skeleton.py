"""A model without weights: every module of it, on the meta device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import init_empty_weights
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.utils import logging

from harness.checkpoints.format import is_layout, read_layout
from harness.checkpoints.layer_formats import shapes_in
from harness.compression.compressor import Compressor, RankedConfig
from harness.errors import UsageError
from harness.families.family import Family
from harness.families.stack import Block
from harness.layers.predicted import PredictsShapes, dense_shape
from harness.layers.roles import Role
from harness.layers.shapes import LayerShape
from harness.layers.weights import BlockWeights
from harness.profile.unlisted import ENCODERS, profiled_family
from harness.records.spec import Dtype, Scope

LayerShapes = Mapping[str, Mapping[Role, LayerShape]]
"""By block and role."""


@dataclass(frozen=True)
class Skeleton:
    """A model's modules; parameters are on the meta device, buffers have their values."""

    model: PreTrainedModel
    family: Family

    def blocks(self, scope: Scope = "language") -> list[tuple[Block, BlockWeights]]:
        """The blocks within ``scope`` with their weights, of which only shapes are known.

        Raises:
            UsageError: the model has no vision tower and ``scope`` asks for one.
        """
        blocks = self.family.blocks(self.model, scope)
        return [(block, block.weights(self.model)) for block in blocks]

    @property
    def head(self) -> nn.Linear | None:
        """The output head, None for an encoder."""
        head: nn.Linear | None = self.model.get_output_embeddings()
        return head

    @property
    def positions(self) -> int | None:
        """How long a sequence can be; None if the configuration sets no limit."""
        config: Any = self.model.config.get_text_config()
        limit: int | None = getattr(config, "max_position_embeddings", None)
        return limit


def skeleton(config: PretrainedConfig, dtype: Dtype) -> Skeleton:
    """The model of ``config``; takes next to no memory, whatever its size.

    Raises:
        UsageError: it is not known where its blocks are.
    """
    family = profiled_family(config)
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with init_empty_weights(include_buffers=False):
            model = _empty_model(config, family, getattr(torch, dtype))
        model.tie_weights()
    finally:
        logging.set_verbosity(verbosity)
    return Skeleton(model.eval(), family)


def shapes_of(
    subject: Skeleton,
    method: str,
    compressor: Compressor[Any],
    config: Any,
    ratio: float,
    scope: Scope,
) -> LayerShapes:
    """What ``compressor`` makes of each layer within ``scope``.

    Raises:
        UsageError: the method does not say so from shapes alone, or a rank rounds to zero.
    """
    if not isinstance(compressor, PredictsShapes):
        raise UsageError(
            f"method '{method}' does not tell its ranks from shapes alone; "
            "give it a 'shapes' method (see harness.layers.predicted.PredictsShapes)"
        )
    if isinstance(config, RankedConfig) and config.ranks == "fisher":
        raise UsageError(
            f"the ranks of '{method}' come from gradients, not from shapes alone; "
            "pass --ranks uniform"
        )
    return {
        block.name: compressor.shapes(weights, 1 - ratio, config)
        if ratio
        else {role: dense_shape(layer) for role, layer in weights.layers.items()}
        for block, weights in subject.blocks(scope)
    }


def saved_forms(subject: Skeleton) -> LayerShapes:
    """What the layers of a model saved in factor form are; nothing where all are dense.

    Raises:
        UsageError: a newer harness saved the model.
        AssetError: its configuration is damaged.
    """
    content = getattr(subject.model.config, "quantization_config", None)
    if not is_layout(content):
        return {}
    forms = shapes_in(read_layout(content).layers)
    return {
        block.name: {
            role: forms[path]
            for role in block.stack.layers
            if (path := block.layer_name(role)) in forms
        }
        for block in subject.family.all_blocks(subject.model)
    }


def _empty_model(config: PretrainedConfig, family: Family, dtype: torch.dtype) -> PreTrainedModel:
    if config.model_type in ENCODERS:
        encoder: PreTrainedModel = AutoModel.from_config(
            config, dtype=dtype, add_pooling_layer=False
        )
        return encoder
    model_class: Any = AutoModelForImageTextToText if family.vision else AutoModelForCausalLM
    model: PreTrainedModel = model_class.from_config(config, dtype=dtype)
    return model
