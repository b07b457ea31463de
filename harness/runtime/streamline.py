"""Fewer operations for the same result.

A block-identity layer reads its input in an order of its own. One gather brings it there, where
the stored form takes two and an addition. The down projection needs none: neurons of an MLP may
stand in any order, so that its order moves into the rows of the layers before it. Layers that a
gather would slow down are written out (``materialize``), inner dimensions are rounded
up to what products are fast at (``single_gather``), and on a CPU matrices lie in memory
as the product with one vector reads them fastest (``harness.runtime.memory_layout``).

What cannot move: the order in which query, key, value, gate and up read the residual stream, since
all blocks share it and each layer has its own order; and the order in which the output projection
reads the heads, which mixes coordinates of all heads while only those of one head may be exchanged.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from harness.families.family import Family
from harness.families.stack import Block
from harness.latent.attention import LatentAttention
from harness.layers.factors import (
    CompressedLinear,
    DenseLinear,
    HeadIdentity,
    InputIdentity,
    LowRank,
    OutputIdentity,
)
from harness.layers.fused import FusedFactors, Part
from harness.layers.roles import Role
from harness.runtime.materialize import LowRankForm, cheapest
from harness.runtime.memory_layout import set_memory_layout
from harness.runtime.single_gather import with_single_gather


@torch.no_grad()
def streamline(model: PreTrainedModel, family: Family) -> PreTrainedModel:
    """Make a compressed model run quicker, in place; dense layers stay as they are.

    Its outputs change by rounding alone. It may take more memory than as stored, by what is
    written out, and can no longer be saved or compressed. The keys and values of an attention
    that caches latents stay as stored.
    """
    for block in family.all_blocks(model):
        paths = _paths(block)
        _permute_neurons(block.module, paths)
        for path in paths.values():
            quick = quickest(block.module.get_submodule(path))
            set_memory_layout(quick)
            block.module.set_submodule(path, quick)
    return model


def quickest(layer: nn.Module) -> nn.Module:
    """What computes the same as ``layer``, a factor, in the least time."""
    if isinstance(layer, LowRankForm):
        layer = cheapest(layer)
    return with_single_gather(layer) if isinstance(layer, InputIdentity | HeadIdentity) else layer


def _paths(block: Block) -> dict[Role, str]:
    """Of the layers of ``block`` that are in factor form and whose latents nobody asks for."""
    paths: dict[Role, str] = {}
    latent = isinstance(block.module.get_submodule(block.stack.attention), LatentAttention)
    for role, layer in block.stack.layers.items():
        if latent and role in ("key", "value"):
            continue
        path = layer.path if isinstance(layer, Part) else layer
        module = block.module.get_submodule(path)
        if isinstance(module, FusedFactors):
            paths[role] = f"{path}.{role}"
        elif isinstance(module, CompressedLinear):
            paths[role] = path
    return paths


def _permute_neurons(block: nn.Module, paths: Mapping[Role, str]) -> None:
    """Let the MLP's neurons come in the order in which the down projection reads them.

    That can be done where all its layers are in factor form.
    """
    inner = [paths[role] for role in ("gate", "up") if role in paths]
    down = block.get_submodule(paths["down"]) if "down" in paths else None
    if not isinstance(down, InputIdentity) or not inner:
        return
    order = torch.cat([down.kept, down.rest]).long()
    for path in inner:
        layer = block.get_submodule(path)
        assert isinstance(layer, CompressedLinear)
        block.set_submodule(path, with_permuted_rows(layer, order))
    kept, rest = torch.arange(len(order), device=order.device).tensor_split([down.rank])
    block.set_submodule(paths["down"], InputIdentity(down.F, down.T, kept, rest, down.bias))


def with_permuted_rows(layer: CompressedLinear, order: Tensor) -> CompressedLinear:
    """``layer`` with output ``y[order]`` in the place of ``y``.

    Raises:
        TypeError: no other order of its output has its form.
    """
    bias = None if layer.bias is None else layer.bias[order]
    match layer:
        case DenseLinear():
            return DenseLinear(layer.weight[order], bias)
        case LowRank():
            return LowRank(layer.B[order], layer.A, bias)
        case InputIdentity():
            return InputIdentity(layer.F[order], layer.T, layer.kept, layer.rest, bias)
        case OutputIdentity():
            position = order.argsort()
            kept, rest = position[layer.kept.long()], position[layer.rest.long()]
            return OutputIdentity(layer.F, layer.T, kept, rest, bias)
    raise TypeError(f"the rows of {layer.form} cannot be exchanged")
