"""One budget for many layers: ranks that lose least in total.

Each layer has a rank-loss curve. Losses are in one unit, so a single Lagrange multiplier, the loss
that a parameter must save, decides for all layers at once.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

import torch
from torch import Tensor

from harness.algebra.rank_curves import RankCurve, hull_steps, slope
from harness.errors import UsageError

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")


def discarded(energies: Tensor) -> Tensor:
    """Sums of what follows: ``[n]`` energies to ``[n + 1]`` losses, the last of them zero."""
    sums = energies.clamp_min(0).flip(0).cumsum(0).flip(0)
    return torch.cat([sums, torch.zeros_like(sums[:1])])


def allocate(curves: Mapping[K, RankCurve[R]], budget: int) -> dict[K, R]:
    """The rank of each layer, at least its lowest, within ``budget`` parameters in total.

    Steps along the lower convex hulls of all curves are taken in the order of what they save
    per parameter, which is the exact optimum for every total at which it stops. What then remains
    is less than one step; it goes to the single ranks that save most, until nothing more fits.
    The loss exceeds that of the best integer ranks by less than one hull step.

    Raises:
        UsageError: the budget is below the lowest rank of every layer.
    """
    chosen = dict.fromkeys(curves, 0)
    left = budget - sum(curve.parameters[0] for curve in curves.values())
    if left < 0:
        raise UsageError(
            f"{budget} parameters do not buy the lowest rank of every layer, "
            f"{budget - left} do; use a smaller --ratio, or --multiple if one is set"
        )
    steps = [
        (-slope(curve, a, b), key, b) for key, curve in curves.items() for a, b in hull_steps(curve)
    ]
    # The sort is stable, so layers that are alike are served in their own order.
    steps.sort(key=lambda step: -step[0])
    closed: set[K] = set()
    for _, key, position in steps:
        parameters = curves[key].parameters
        more = parameters[position] - parameters[chosen[key]]
        if key in closed or more > left:
            closed.add(key)
            continue
        chosen[key], left = position, left - more
    _fill(curves, chosen, left)
    return {key: curves[key].ranks[position] for key, position in chosen.items()}


def _fill(curves: Mapping[K, RankCurve[R]], chosen: dict[K, int], left: int) -> None:
    """Spend what is ``left``: the layer that gains most takes the best rank it can pay."""
    best = {key: _affordable(curve, chosen[key], left) for key, curve in curves.items()}
    while True:
        key = max(best, key=lambda layer: best[layer][0])
        gain, position = best[key]
        if gain <= 0:
            return
        left -= curves[key].parameters[position] - curves[key].parameters[chosen[key]]
        chosen[key] = position
        best = {layer: _affordable(curves[layer], chosen[layer], left) for layer in best}


def _affordable(curve: RankCurve[R], position: int, left: int) -> tuple[float, int]:
    """What the best rank above ``position`` that ``left`` parameters pay for saves."""
    limit = curve.parameters[position] + left
    best = (0.0, position)
    for i in range(position + 1, len(curve.parameters)):
        if curve.parameters[i] > limit:
            break
        gain = curve.losses[position] - curve.losses[i]
        if gain > best[0]:
            best = (gain, i)
    return best
