"""Ranks of all layers of a model from one budget."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from transformers import PreTrainedModel

from harness.algebra.budget import allocate, offer
from harness.compressor import BlockStatistics, RankedConfig, Ranking
from harness.errors import HarnessError
from harness.families.stack import Block
from harness.progress import Tracker
from harness.roles import Role
from harness.statistics.folded import unfolded


def fisher_ranks(
    compressor: Ranking,
    config: RankedConfig,
    model: PreTrainedModel,
    blocks: Sequence[Block],
    statistics: Sequence[BlockStatistics],
    keep: float,
    track: Tracker,
) -> list[Mapping[Role, int]]:
    """The ranks of every block that lose least within ``keep`` of all their parameters.

    Only losses by rank are kept of a block once it is looked at.

    Raises:
        NonFiniteError: weights or statistics hold NaN or infinity; names the block.
        UsageError: the budget does not buy the lowest rank of every layer.
    """
    offers = {}
    parameters = 0
    pairs = zip(blocks, statistics, strict=True)
    for index, (block, seen) in enumerate(track(pairs, "choosing ranks", len(blocks))):
        weights = block.weights(model)
        try:
            for role, losses in compressor.losses(weights, unfolded(seen), config).items():
                d_out, d_in = weights.layers[role].weight.shape
                parameters += d_out * d_in
                offers[index, role] = offer(losses, (d_out, d_in), config.junction, config.multiple)
        except HarnessError as error:
            raise type(error)(f"{block.name}: {error}") from error
    ranks = allocate(offers, math.floor(keep * parameters + 1e-6))
    return [
        {role: ranks[index, role] for role in block.stack.layers}
        for index, block in enumerate(blocks)
    ]
