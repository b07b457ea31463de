"""Rank-loss curves: what each rank of a layer costs in parameters, and what it loses."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from harness.algebra.ranks import Junction, factor_parameters
from harness.errors import NonFiniteError

N = TypeVar("N")
R = TypeVar("R")


@dataclass(frozen=True)
class RankCurve(Generic[R]):
    """The rank-loss trade-off of one layer, or of the ranks of several layers together.

    Attributes:
        ranks: ``[n]``, or what else is chosen among; the last stands for all that there is.
        parameters: stored at that rank, ``[n]``, strictly ascending.
        losses: estimated loss at that rank, ``[n]``, float64.
    """

    ranks: tuple[R, ...]
    parameters: tuple[int, ...]
    losses: tuple[float, ...]


def rank_curve(
    losses: Tensor, shape: Sequence[int], junction: Junction, multiple: int = 1
) -> RankCurve[int]:
    """All ranks of a layer that make it smaller; the last is the dense layer.

    Args:
        losses: ``[min(shape) + 1]``, what is lost when 0, 1, ... directions are kept.
        shape: ``(d_out, d_in)`` of the layer.
        junction: how its factors will be stored.
        multiple: of which all ranks are but that of the dense layer.

    Raises:
        NonFiniteError: a loss is NaN or infinite.
    """
    known = _finite(losses)
    d_out, d_in = shape
    full, dense = min(shape), d_out * d_in
    parameters = {
        r: factor_parameters((d_out, d_in), r, junction) for r in range(multiple, full, multiple)
    }
    ranks = [r for r, count in parameters.items() if count < dense]
    return RankCurve(
        ranks=(*ranks, full),
        parameters=(*(parameters[r] for r in ranks), dense),
        losses=(*(known[r] for r in ranks), 0.0),
    )


def dense_curve(shape: Sequence[int]) -> RankCurve[int]:
    """No choice: a layer of shape ``(d_out, d_in)`` that stays as it is."""
    return RankCurve(ranks=(min(shape),), parameters=(math.prod(shape),), losses=(0.0,))


def unit_curve(losses: Tensor, parameters: int, multiple: int = 1) -> RankCurve[int]:
    """All numbers of units, such as neurons, of equal size.

    Args:
        losses: ``[n + 1]``, what is lost when 0, 1, ... units are kept.
        parameters: of a unit.
        multiple: of which all numbers are but that of all units.

    Raises:
        NonFiniteError: a loss is NaN or infinite.
    """
    known = _finite(losses)
    full = len(known) - 1
    counts = (*range(multiple, full, multiple), full)
    return RankCurve(
        ranks=counts,
        parameters=tuple(parameters * k for k in counts),
        losses=tuple(known[k] for k in counts),
    )


def shared_by(curve: RankCurve[int], *names: N) -> RankCurve[Mapping[N, int]]:
    """The curve of ``names`` that all take the same rank."""
    ranks = tuple(dict.fromkeys(names, rank) for rank in curve.ranks)
    return RankCurve(ranks, curve.parameters, curve.losses)


def sum_curves(curves: Sequence[RankCurve[Mapping[N, int]]]) -> RankCurve[Mapping[N, int]]:
    """Several curves as one: what loses least in total, wherever their hulls have a corner."""
    steps = [
        (-slope(curve, a, b), index, b)
        for index, curve in enumerate(curves)
        for a, b in hull_steps(curve)
    ]
    steps.sort(key=lambda step: -step[0])
    chosen = [0] * len(curves)
    positions = [tuple(chosen)]
    for _, index, position in steps:
        chosen[index] = position
        positions.append(tuple(chosen))
    everything = tuple(len(curve.ranks) - 1 for curve in curves)
    if positions[-1] != everything:
        positions.append(everything)
    points = [list(zip(curves, position, strict=True)) for position in positions]
    return RankCurve(
        ranks=tuple(
            {n: r for curve, at in point for n, r in curve.ranks[at].items()} for point in points
        ),
        parameters=tuple(sum(curve.parameters[at] for curve, at in point) for point in points),
        losses=tuple(sum(curve.losses[at] for curve, at in point) for point in points),
    )


def pointwise_best(curve: RankCurve[R], other: RankCurve[R]) -> RankCurve[R]:
    """Whichever of two ways loses less for its parameters; the last choice is ``curve``'s."""
    points = [
        (size, loss, rank)
        for of, count in ((curve, len(curve.ranks) - 1), (other, len(other.ranks)))
        for size, loss, rank in zip(
            of.parameters[:count], of.losses[:count], of.ranks[:count], strict=True
        )
        if size < curve.parameters[-1]
    ]
    points.sort(key=lambda point: point[:2])
    kept: list[tuple[int, float, R]] = []
    for point in points:
        if not kept or (point[0] > kept[-1][0] and point[1] < kept[-1][1]):
            kept.append(point)
    kept.append((curve.parameters[-1], curve.losses[-1], curve.ranks[-1]))
    parameters, losses, ranks = zip(*kept, strict=True)
    return RankCurve(ranks, parameters, losses)


def hull_steps(curve: RankCurve[R]) -> list[tuple[int, int]]:
    """Corners of the lower convex hull from the lowest rank to the least loss, as pairs."""
    corners = [0]
    for i in range(1, len(curve.parameters)):
        if curve.losses[i] >= curve.losses[corners[-1]]:
            continue
        while len(corners) > 1 and slope(curve, corners[-2], i) <= slope(curve, *corners[-2:]):
            corners.pop()
        corners.append(i)
    return list(itertools.pairwise(corners))


def slope(curve: RankCurve[R], a: int, b: int) -> float:
    """Loss by parameter from position ``a`` to ``b``."""
    return (curve.losses[b] - curve.losses[a]) / (curve.parameters[b] - curve.parameters[a])


def _finite(losses: Tensor) -> list[float]:
    if not bool(torch.isfinite(losses).all()):
        raise NonFiniteError("the estimated losses hold NaN or infinity")
    return losses.tolist()
