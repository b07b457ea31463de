"""Ranks from parameter budgets, in integers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from harness.errors import UsageError

Junction = Literal["left", "right", "symmetric", "block-identity", "block-identity-output"]


def has_identity(junction: Junction) -> bool:
    """Whether a form stores an identity block, and so ``r^2`` parameters less."""
    return junction.startswith("block-identity")


def factor_parameters(shape: Sequence[int], rank: int, junction: Junction) -> int:
    """Weights stored at ``rank``: ``r (d_out + d_in)``, less ``r^2`` with an identity block."""
    return rank * sum(shape) - (rank * rank if has_identity(junction) else 0)


def rank_for(
    shape: Sequence[int], keep: float, junction: Junction, saved_elsewhere: int = 0
) -> int:
    """Largest rank whose parameters stay within ``keep * d_out * d_in``.

    ``saved_elsewhere`` parameters of the factors are known not to be stored (identity blocks
    of the heads) and may be spent on rank.

    Raises:
        UsageError: not even rank 1 fits.
    """
    d_out, d_in = shape
    total = d_out + d_in
    budget = math.floor(keep * d_out * d_in + 1e-6) + saved_elsewhere
    if has_identity(junction):
        discriminant = max(total * total - 4 * budget, 0)
        rank = (total - math.isqrt(discriminant)) // 2
        if factor_parameters(shape, rank, junction) > budget:
            rank -= 1
    else:
        rank = budget // total
    rank = min(rank, d_out, d_in)
    if rank < 1:
        raise UsageError(
            f"ratio {1 - keep:g} leaves no rank for a layer of shape {d_out} x {d_in}; "
            "use a smaller --ratio"
        )
    return rank
