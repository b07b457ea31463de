"""Boxes in rows, with arrows between them that run straight and seldom cross."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

WIDTH, GAP, LANE, MARGIN = 128, 22, 26, 34
"""Of a box, between two, of an arrow that passes a row, and around all; in pixels."""
SWEEPS = 60


@dataclass(eq=False)
class Spot:
    """A room, or where an arrow passes a row; ``x`` is its middle."""

    row: int
    room: str | None
    beside: bool
    x: float = 0.0
    near: list[Spot] = field(default_factory=list)

    @property
    def width(self) -> int:
        """What it takes of its row."""
        return WIDTH + GAP if self.room else LANE


def arranged(
    rows: Mapping[str, int], arrows: Sequence[tuple[str, str]], layered: set[str]
) -> tuple[dict[str, Spot], list[list[Spot]]]:
    """Spots for all rooms, and the way of each arrow; few arrows cross, and they run straight."""
    spots = {room: Spot(at, room, room not in layered) for room, at in sorted(rows.items())}
    ways = []
    every = list(spots.values())
    for a, b in arrows:
        aside = spots[a].beside or spots[b].beside
        lane = [Spot(at, None, aside) for at in range(rows[a] + 1, rows[b])]
        ways.append([spots[a], *lane, spots[b]])
        every += lane
        for upper, lower in pairwise(ways[-1]):
            upper.near.append(lower)
            lower.near.append(upper)
    grid = [[spot for spot in every if spot.row == at] for at in range(max(rows.values()) + 1)]
    for row in grid:
        _settle(row)
    for sweep in range(SWEEPS):
        for row in grid[:: -1 if sweep % 2 else 1]:
            row.sort(key=lambda spot: (spot.beside, _wish(spot)))
            _settle(row)
    left = min(spot.x - spot.width / 2 for spot in every)
    for spot in every:
        spot.x = round(spot.x - left + MARGIN)
    return spots, ways


def _pull(spot: Spot, other: Spot) -> int:
    """How much an arrow is to run straight between the two: most where it passes rows."""
    return (1, 3, 9)[(spot.room is None) + (other.room is None)]


def _wish(spot: Spot) -> float:
    pulls = [_pull(spot, other) for other in spot.near]
    if not pulls:
        return spot.x
    return sum(pull * other.x for pull, other in zip(pulls, spot.near, strict=True)) / sum(pulls)


def _settle(row: list[Spot]) -> None:
    """Each spot of ``row`` as near to its wish as order and widths allow (least squares)."""
    offset, offsets = 0.0, []
    for spot in row:
        offsets.append(offset + spot.width / 2)
        offset += spot.width
    runs: list[tuple[float, int, int]] = []
    for spot, start in zip(row, offsets, strict=True):
        mean, count = _wish(spot) - start, 1
        pull = sum(_pull(spot, other) for other in spot.near) or 1
        while runs and runs[-1][0] > mean:
            before, weight, many = runs.pop()
            mean = (before * weight + mean * pull) / (weight + pull)
            pull, count = weight + pull, many + count
        runs.append((mean, pull, count))
    means = [mean for mean, _, count in runs for _ in range(count)]
    for spot, start, mean in zip(row, offsets, means, strict=True):
        spot.x = start + mean
