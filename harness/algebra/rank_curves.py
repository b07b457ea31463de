"""What layers ask for each rank: prices, and the losses that are left."""

from __future__ import annotations

import itertools
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
class Offer(Generic[R]):
    """What one layer asks for each rank, or several layers for the ranks of all.

    Attributes:
        ranks: ``[n]``, or what else is chosen among; the last stands for all that there is.
        prices: parameters stored at that rank, ``[n]``, strictly ascending.
        losses: estimated loss at that rank, ``[n]``, float64.
    """

    ranks: tuple[R, ...]
    prices: tuple[int, ...]
    losses: tuple[float, ...]


def offer(
    losses: Tensor, shape: Sequence[int], junction: Junction, multiple: int = 1
) -> Offer[int]:
    """All ranks of a layer that are worth their price; the last is the dense layer.

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
    prices = {
        r: factor_parameters((d_out, d_in), r, junction) for r in range(multiple, full, multiple)
    }
    ranks = [r for r, price in prices.items() if price < dense]
    return Offer(
        ranks=(*ranks, full),
        prices=(*(prices[r] for r in ranks), dense),
        losses=(*(known[r] for r in ranks), 0.0),
    )


def unit_offer(losses: Tensor, price: int, multiple: int = 1) -> Offer[int]:
    """All numbers of units, such as neurons, of one price.

    Args:
        losses: ``[n + 1]``, what is lost when 0, 1, ... units are kept.
        price: parameters of a unit.
        multiple: of which all numbers are but that of all units.

    Raises:
        NonFiniteError: a loss is NaN or infinite.
    """
    known = _finite(losses)
    full = len(known) - 1
    counts = (*range(multiple, full, multiple), full)
    return Offer(
        ranks=counts,
        prices=tuple(price * k for k in counts),
        losses=tuple(known[k] for k in counts),
    )


def named(one: Offer[int], *names: N) -> Offer[Mapping[N, int]]:
    """The same rank for each of ``names``."""
    ranks = tuple(dict.fromkeys(names, rank) for rank in one.ranks)
    return Offer(ranks, one.prices, one.losses)


def together(offers: Sequence[Offer[Mapping[N, int]]]) -> Offer[Mapping[N, int]]:
    """Several offers as one: what loses least in total, wherever their hulls have a corner."""
    steps = [
        (-slope(one, a, b), index, b)
        for index, one in enumerate(offers)
        for a, b in hull_steps(one)
    ]
    steps.sort(key=lambda step: -step[0])
    chosen = [0] * len(offers)
    positions = [tuple(chosen)]
    for _, index, position in steps:
        chosen[index] = position
        positions.append(tuple(chosen))
    everything = tuple(len(one.ranks) - 1 for one in offers)
    if positions[-1] != everything:
        positions.append(everything)
    points = [list(zip(offers, position, strict=True)) for position in positions]
    return Offer(
        ranks=tuple(
            {n: r for one, at in point for n, r in one.ranks[at].items()} for point in points
        ),
        prices=tuple(sum(one.prices[at] for one, at in point) for point in points),
        losses=tuple(sum(one.losses[at] for one, at in point) for point in points),
    )


def either(one: Offer[R], other: Offer[R]) -> Offer[R]:
    """Whichever of two ways loses less for its price; the last choice is that of ``one``."""
    points = [
        (price, loss, rank)
        for of, count in ((one, len(one.ranks) - 1), (other, len(other.ranks)))
        for price, loss, rank in zip(
            of.prices[:count], of.losses[:count], of.ranks[:count], strict=True
        )
        if price < one.prices[-1]
    ]
    points.sort(key=lambda point: point[:2])
    kept: list[tuple[int, float, R]] = []
    for point in points:
        if not kept or (point[0] > kept[-1][0] and point[1] < kept[-1][1]):
            kept.append(point)
    kept.append((one.prices[-1], one.losses[-1], one.ranks[-1]))
    prices, losses, ranks = zip(*kept, strict=True)
    return Offer(ranks, prices, losses)


def hull_steps(one: Offer[R]) -> list[tuple[int, int]]:
    """Corners of the lower convex hull from the cheapest rank to the least loss, as pairs."""
    corners = [0]
    for i in range(1, len(one.prices)):
        if one.losses[i] >= one.losses[corners[-1]]:
            continue
        while len(corners) > 1 and slope(one, corners[-2], i) <= slope(one, *corners[-2:]):
            corners.pop()
        corners.append(i)
    return list(itertools.pairwise(corners))


def slope(one: Offer[R], a: int, b: int) -> float:
    """Loss by parameter from position ``a`` to ``b``."""
    return (one.losses[b] - one.losses[a]) / (one.prices[b] - one.prices[a])


def _finite(losses: Tensor) -> list[float]:
    if not bool(torch.isfinite(losses).all()):
        raise NonFiniteError("the estimated losses hold NaN or infinity")
    return losses.tolist()
