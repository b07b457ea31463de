"""One budget for many layers: ranks that lose least in total.

Each layer offers a price and an estimated loss for every rank. Losses are in one unit, so a
single Lagrange multiplier, the loss that a parameter must save, decides for all layers at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from harness.algebra.ranks import Junction, factor_parameters
from harness.errors import NonFiniteError, UsageError

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Offer:
    """What one layer asks for each rank.

    Attributes:
        ranks: ``[n]``, ascending.
        prices: parameters stored at that rank, ``[n]``, strictly ascending.
        losses: estimated loss at that rank, ``[n]``, float64.
    """

    ranks: tuple[int, ...]
    prices: tuple[int, ...]
    losses: tuple[float, ...]


def offer(losses: Tensor, shape: tuple[int, int], junction: Junction, multiple: int = 1) -> Offer:
    """All ranks of a layer that are worth their price; the last is the dense layer.

    Args:
        losses: ``[min(shape) + 1]``, what is lost when 0, 1, ... directions are kept.
        shape: ``(d_out, d_in)`` of the layer.
        junction: how its factors will be stored.
        multiple: of which all ranks are but that of the dense layer.

    Raises:
        NonFiniteError: a loss is NaN or infinite.
    """
    if not bool(torch.isfinite(losses).all()):
        raise NonFiniteError("the estimated losses hold NaN or infinity")
    full, dense = min(shape), shape[0] * shape[1]
    known = losses.tolist()
    prices = {r: factor_parameters(shape, r, junction) for r in range(multiple, full, multiple)}
    ranks = [r for r, price in prices.items() if price < dense]
    return Offer(
        ranks=(*ranks, full),
        prices=(*(prices[r] for r in ranks), dense),
        losses=(*(known[r] for r in ranks), 0.0),
    )


def discarded(energies: Tensor) -> Tensor:
    """Sums of what follows: ``[n]`` energies to ``[n + 1]`` losses, the last of them zero."""
    sums = energies.clamp_min(0).flip(0).cumsum(0).flip(0)
    return torch.cat([sums, torch.zeros_like(sums[:1])])


def allocate(offers: Mapping[K, Offer], budget: int) -> dict[K, int]:
    """The rank of each layer, at least its lowest, within ``budget`` parameters in total.

    Steps along the lower convex hulls of all offers are bought in the order of what they save
    per parameter, which is the exact optimum for every total at which it stops. What then remains
    is less than one step; it goes to the single ranks that save most, until nothing more fits.
    The loss exceeds that of the best integer ranks by less than one hull step.

    Raises:
        UsageError: the budget does not even buy the lowest rank of every layer.
    """
    chosen = dict.fromkeys(offers, 0)
    left = budget - sum(offer.prices[0] for offer in offers.values())
    if left < 0:
        raise UsageError(
            f"{budget} parameters do not buy the lowest rank of each of {len(offers)} layers, "
            f"{budget - left} do; use a smaller --ratio, or --multiple if one is set"
        )
    steps = [
        ((one.losses[a] - one.losses[b]) / (one.prices[b] - one.prices[a]), key, b)
        for key, one in offers.items()
        for a, b in _steps(one)
    ]
    # The sort is stable, so layers that are alike are served in their own order.
    steps.sort(key=lambda step: -step[0])
    closed: set[K] = set()
    for _, key, position in steps:
        prices = offers[key].prices
        price = prices[position] - prices[chosen[key]]
        if key in closed or price > left:
            closed.add(key)
            continue
        chosen[key], left = position, left - price
    _fill(offers, chosen, left)
    return {key: offers[key].ranks[position] for key, position in chosen.items()}


def _steps(one: Offer) -> list[tuple[int, int]]:
    """Corners of the lower convex hull from the cheapest rank to the least loss, as pairs."""
    corners = [0]
    for i in range(1, len(one.prices)):
        if one.losses[i] >= one.losses[corners[-1]]:
            continue
        while len(corners) > 1 and _slope(one, corners[-2], i) <= _slope(one, *corners[-2:]):
            corners.pop()
        corners.append(i)
    return list(itertools.pairwise(corners))


def _slope(one: Offer, a: int, b: int) -> float:
    return (one.losses[b] - one.losses[a]) / (one.prices[b] - one.prices[a])


def _fill(offers: Mapping[K, Offer], chosen: dict[K, int], left: int) -> None:
    """Spend what is ``left``: the layer that gains most takes the best rank it can pay."""
    best = {key: _affordable(one, chosen[key], left) for key, one in offers.items()}
    while True:
        key = max(best, key=lambda one: best[one][0])
        gain, position = best[key]
        if gain <= 0:
            return
        left -= offers[key].prices[position] - offers[key].prices[chosen[key]]
        chosen[key] = position
        best = {one: _affordable(offers[one], chosen[one], left) for one in best}


def _affordable(one: Offer, position: int, left: int) -> tuple[float, int]:
    """What the best rank above ``position`` that ``left`` parameters pay for saves."""
    limit = one.prices[position] + left
    best = (0.0, position)
    for i in range(position + 1, len(one.prices)):
        if one.prices[i] > limit:
            break
        gain = one.losses[position] - one.losses[i]
        if gain > best[0]:
            best = (gain, i)
    return best
