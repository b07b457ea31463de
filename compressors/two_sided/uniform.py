"""Ranks and numbers of neurons from the shapes of one block alone."""

from __future__ import annotations

import math

from compressors.two_sided.config import Config
from compressors.two_sided.layer import mlp_roles
from harness.algebra.neurons import Neurons
from harness.algebra.ranks import rank_for
from harness.plugin import BlockWeights, Role, UsageError


def uniform_ranks(block: BlockWeights, keep: float, config: Config) -> dict[Role, int]:
    """The largest within ``keep`` of each layer, or of the block where only neurons go.

    Raises:
        UsageError: a rank, or the number of neurons, rounds to zero.
    """
    if config.neurons == "only":
        return _fewer_neurons(block, keep, config.multiple)
    ranks = {
        role: rank_for(layer.weight.shape, keep, config.junction)
        for role, layer in block.layers.items()
    }
    inner = block.layers["down"].weight.shape[1]
    count = math.floor(keep * inner + 1e-6)
    if not config.neurons or count == inner:
        return ranks
    if count < 1:
        raise UsageError(f"{keep:g} of an MLP are not even one neuron; use a smaller --ratio")
    return ranks | dict.fromkeys(mlp_roles(block), Neurons(count))


def _fewer_neurons(block: BlockWeights, keep: float, multiple: int) -> dict[Role, int]:
    """Full ranks, and the largest multiple of neurons within ``keep`` of the block."""
    mlp = mlp_roles(block)
    sizes = {role: layer.weight.numel() for role, layer in block.layers.items()}
    whole, of_mlp = sum(sizes.values()), sum(sizes[role] for role in mlp)
    neuron = of_mlp // block.layers["down"].weight.shape[1]
    count = math.floor((keep * whole - (whole - of_mlp)) / neuron + 1e-6) // multiple * multiple
    if count < 1:
        least = f"{multiple} neurons" if multiple > 1 else "one neuron"
        raise UsageError(
            f"with {1 - keep:.4g} of a block removed, of which its MLP is {of_mlp / whole:.4g}, "
            f"not even {least} would be left; use a smaller --ratio or --multiple"
        )
    ranks = {role: min(layer.weight.shape) for role, layer in block.layers.items()}
    return ranks | dict.fromkeys(mlp, Neurons(count))
