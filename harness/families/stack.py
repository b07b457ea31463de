"""A stack of equal transformer blocks as data: where its attention and MLP are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from harness.errors import NonFiniteError, UsageError
from harness.layers.factors import CompressedLinear
from harness.layers.fused import FusedFactors, Part
from harness.layers.roles import Role
from harness.layers.weights import AttentionGeometry, BlockWeights, LinearWeights


@dataclass(frozen=True)
class Stack:
    """The blocks of a decoder or of a vision tower. Paths are dotted module or config names.

    Attributes:
        blocks: path of the list of blocks in the model.
        layers: path of each linear layer inside a block, or its part of a fused one.
        activation: configuration key of the MLP's activation.
        width: configuration key of the MLP's neurons, None where it has none.
        config: key of the part of the configuration that describes these blocks, None for the
            whole of it.
        rotary: path of the module that holds the rotary frequencies, None without rotary
            embedding.
        planar: positions are rows and columns of an image: each frequency turns one pair of
            coordinates by the row and another by the column.
        padded: sequences of a batch are padded to one length, as those of a decoder are.
        query_norm, key_norm: paths of per-head norms inside a block, None without qk-norm.
        latent: how the attention can run on cached latents: ``plain`` where positions never touch
            queries and keys, ``rotated`` where it turns the halves of each head by the
            ``position_embeddings`` it is called with, None where it cannot (yet).
    """

    blocks: str
    layers: Mapping[Role, str | Part]
    activation: str
    width: str | None = None
    config: str | None = None
    rotary: str | None = None
    planar: bool = False
    padded: bool = True
    query_norm: str | None = None
    key_norm: str | None = None
    latent: Literal["plain", "rotated"] | None = None

    def path(self, role: Role) -> str:
        """Path of the linear layer, fused or not, that ``role`` is in."""
        layer = self.layers[role]
        return layer.path if isinstance(layer, Part) else layer

    @property
    def attention(self) -> str:
        """Path of the attention module inside a block."""
        return self.path("key").rpartition(".")[0]

    def block_list(self, model: PreTrainedModel) -> nn.ModuleList:
        """The blocks of ``model`` in order."""
        blocks = model.get_submodule(self.blocks)
        if not isinstance(blocks, nn.ModuleList):
            raise UsageError(
                f"'{self.blocks}' of {type(model).__name__} is no list of blocks; correct "
                "'blocks' in the family's Stack"
            )
        return blocks

    def weights(self, model: PreTrainedModel, block: nn.Module) -> BlockWeights:
        """The linear layers of ``block`` as tensors that share the model's memory."""
        layers: dict[Role, LinearWeights] = {}
        for role, layer in self.layers.items():
            path = self.path(role)
            linear = block.get_submodule(path)
            if not isinstance(linear, nn.Linear):
                raise UsageError(
                    f"layer '{path}' is a {type(linear).__name__}, not a dense linear layer; "
                    "compress the original model"
                )
            bias = None if linear.bias is None else linear.bias.detach()
            whole = LinearWeights(linear.weight.detach(), bias)
            layers[role] = layer.of(whole) if isinstance(layer, Part) else whole
        config = self.own_config(model)
        size = len(layers["query"].weight) // config.num_attention_heads
        geometry = AttentionGeometry(
            heads=config.num_attention_heads,
            kv_heads=len(layers["key"].weight) // size,
            head_size=size,
            rotary=self._frequencies(model, layers["query"].weight.device),
            query_norm=_tensor(block, self.query_norm, "weight"),
            key_norm=_tensor(block, self.key_norm, "weight"),
        )
        return BlockWeights(layers, geometry, activation=getattr(config, self.activation))

    def own_config(self, model: PreTrainedModel) -> PretrainedConfig:
        """The part of the configuration that describes these blocks."""
        return getattr(model.config, self.config) if self.config else model.config

    def _frequencies(self, model: PreTrainedModel, device: torch.device) -> Tensor | None:
        inverse = _tensor(model, self.rotary, "inv_freq")
        if inverse is None:
            return None
        inverse = inverse.to(device)
        if not self.planar:
            return inverse
        return torch.block_diag(inverse[None], inverse[None])


@dataclass(frozen=True)
class Block:
    """One block of a model: its dotted path, its module, and the stack that describes it."""

    name: str
    module: nn.Module
    stack: Stack

    def weights(self, model: PreTrainedModel) -> BlockWeights:
        """The linear layers as tensors that share the memory of ``model``."""
        return self.stack.weights(model, self.module)

    def layer_name(self, role: Role) -> str:
        """Dotted path of a layer once it is compressed."""
        layer = self.stack.layers[role]
        return (
            f"{self.name}.{layer.path}.{role}"
            if isinstance(layer, Part)
            else (f"{self.name}.{layer}")
        )

    def install(self, factors: Mapping[Role, CompressedLinear]) -> None:
        """Put ``factors`` in the place of the dense layers."""
        fused: dict[str, FusedFactors] = {}
        for role, layer in self.stack.layers.items():
            if isinstance(layer, Part):
                fused.setdefault(layer.path, FusedFactors())[role] = factors[role]
            else:
                self.module.set_submodule(layer, factors[role])
        for path, together in fused.items():
            self.module.set_submodule(path, together)

    @property
    def biased(self) -> bool:
        """Whether a linear layer has a bias."""
        paths = {self.stack.path(role) for role in self.stack.layers}
        return any(self.module.get_submodule(path).bias is not None for path in paths)

    def require_finite(self) -> None:
        """Check the weights of all linear layers.

        Raises:
            NonFiniteError: one holds NaN or infinity; names the layer.
        """
        for path in dict.fromkeys(self.stack.path(role) for role in self.stack.layers):
            tensors = self.module.get_submodule(path).parameters()
            if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors):
                raise NonFiniteError(
                    f"the model itself holds NaN or infinity, in {self.name}.{path}; "
                    "fetch or copy it again"
                )


def _tensor(owner: nn.Module, path: str | None, name: str) -> Tensor | None:
    if path is None:
        return None
    tensor = getattr(owner.get_submodule(path), name)
    return tensor.detach() if isinstance(tensor, Tensor) else None
