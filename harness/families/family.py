"""The family seam: where a transformers model keeps its blocks, attention and MLP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from harness.block import AttentionGeometry, BlockWeights, LinearWeights
from harness.errors import NonFiniteError, UsageError
from harness.registry import Registry
from harness.roles import Role


@dataclass(frozen=True)
class Family:
    """A decoder-only architecture as data. Paths are dotted module or config names.

    Attributes:
        model_type: the ``model_type`` of the transformers configuration.
        blocks: path of the list of decoder blocks in the model.
        layers: path of each linear layer inside a block.
        activation: configuration key of the MLP's activation.
        rotary: path of the module that holds the rotary frequencies, None without rotary
            embedding.
        query_norm, key_norm: paths of per-head norms inside a block, None without qk-norm.
    """

    model_type: str
    blocks: str
    layers: Mapping[Role, str]
    activation: str
    rotary: str | None = None
    query_norm: str | None = None
    key_norm: str | None = None

    def block_list(self, model: PreTrainedModel) -> nn.ModuleList:
        """The decoder blocks of ``model`` in order."""
        blocks = model.get_submodule(self.blocks)
        if not isinstance(blocks, nn.ModuleList):
            raise UsageError(f"'{self.blocks}' of {type(model).__name__} is no list of blocks")
        return blocks

    def require_finite(self, model: PreTrainedModel) -> None:
        """Check the weights of all linear layers in the blocks of ``model``.

        Raises:
            NonFiniteError: one holds NaN or infinity; names the layer.
        """
        for index, block in enumerate(self.block_list(model)):
            for path in self.layers.values():
                tensors = block.get_submodule(path).parameters()
                if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors):
                    raise NonFiniteError(
                        f"{self.blocks}.{index}.{path} holds NaN or infinity; "
                        "the model is damaged, fetch or copy it again"
                    )

    def geometry(self, model: PreTrainedModel, block: nn.Module) -> AttentionGeometry:
        """Heads, rotary frequencies and head norms of ``block``."""
        config = model.config
        heads: int = config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // heads
        return AttentionGeometry(
            heads=heads,
            kv_heads=getattr(config, "num_key_value_heads", None) or heads,
            head_size=size,
            rotary=_tensor(model, self.rotary, "inv_freq"),
            query_norm=_tensor(block, self.query_norm, "weight"),
            key_norm=_tensor(block, self.key_norm, "weight"),
        )

    def weights(self, model: PreTrainedModel, block: nn.Module) -> BlockWeights:
        """The linear layers of ``block`` as tensors that share the model's memory."""
        layers: dict[Role, LinearWeights] = {}
        for role, path in self.layers.items():
            linear = block.get_submodule(path)
            if not isinstance(linear, nn.Linear):
                raise UsageError(
                    f"layer '{path}' is a {type(linear).__name__}, not a dense linear layer; "
                    "compress the original model"
                )
            bias = None if linear.bias is None else linear.bias.detach()
            layers[role] = LinearWeights(linear.weight.detach(), bias)
        return BlockWeights(
            layers=layers,
            attention=self.geometry(model, block),
            activation=getattr(model.config, self.activation),
        )


families: Registry[Family] = Registry("harness.families", "family", Family)


def family_of(config: PretrainedConfig) -> Family:
    """The family of a transformers configuration, by its ``model_type``.

    Raises:
        UsageError: no plugin declares that model type; says how to add one.
    """
    if config.model_type in families.names():
        return families.get(config.model_type)
    known = ", ".join(families.names())
    raise UsageError(
        f"no family for model type '{config.model_type}' "
        f"({', '.join(config.architectures or [])}); known: {known}; add one as a Family in an "
        f"entry point of group '{families.group}' (see CONTRIBUTING.md)"
    )


def _tensor(owner: nn.Module, path: str | None, name: str) -> Tensor | None:
    if path is None:
        return None
    tensor = getattr(owner.get_submodule(path), name)
    return tensor.detach() if isinstance(tensor, Tensor) else None
