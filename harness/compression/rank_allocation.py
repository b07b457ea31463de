"""Ranks of all layers of a model from one budget."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PreTrainedModel

from harness.algebra.rank_allocation import allocate
from harness.algebra.rank_curves import RankCurve
from harness.compression.compressor import RankedConfig, Ranking
from harness.errors import HarnessError
from harness.families.stack import Block
from harness.layers.roles import Role
from harness.statistics.block_statistics import BlockStatistics
from harness.statistics.packed_moments import unpacked
from harness.support.progress import Tracker


def fisher_ranks(
    compressor: Ranking[Any],
    config: RankedConfig,
    model: PreTrainedModel,
    blocks: Sequence[Block],
    statistics: Sequence[BlockStatistics],
    keep: float,
    track: Tracker,
) -> Sequence[Mapping[Role, int]]:
    """The ranks of every block that lose least within ``keep`` of all their parameters.

    Only losses by rank are kept of a block once it is looked at.

    Raises:
        NonFiniteError: weights or statistics hold NaN or infinity; names the block.
        UsageError: the budget does not buy the lowest rank of every layer.
    """
    curves: dict[tuple[int, int], RankCurve[Mapping[Role, int]]] = {}
    pairs = zip(blocks, statistics, strict=True)
    for index, (block, seen) in enumerate(track(pairs, "choosing ranks", len(blocks))):
        weights = block.weights(model)
        try:
            of_block = compressor.rank_curves(weights, unpacked(seen), config)
        except HarnessError as error:
            raise type(error)(f"{block.name}: {error}") from error
        curves |= {(index, number): curve for number, curve in enumerate(of_block)}
    dense = sum(curve.parameters[-1] for curve in curves.values())
    ranks: list[dict[Role, int]] = [{} for _ in blocks]
    for (index, _), chosen in allocate(curves, math.floor(keep * dense + 1e-6)).items():
        ranks[index] |= chosen
    return ranks
