"""Making up for drift: a weight that also corrects what earlier compression has done to its input.

A layer behind compressed ones receives ``x'`` instead of ``x``. The best map from ``x'`` to what
the layer should give is no longer ``W``: regression of what is missing on what is given says how to
change it. Only so much of that change is made as one half of the calibration confirms in the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.algebra.blocked_products import energy
from harness.algebra.preconditioners import damped

DAMPINGS = (0.01, 0.1, 1.0, 10.0)
"""Ridges that the halves choose among, relative to the inputs' mean diagonal; ascending."""

START = 2
"""The one that is most often best."""

ROUNDING = 1e-12
"""Relative error that centring may leave in a moment, generously."""


@dataclass(frozen=True)
class Half:
    """Weighted means over the tokens of one half of the calibration, in float64.

    Attributes:
        mass: sum of the weights.
        second: ``E[x' x'^T]`` of the inputs, ``[d_in, d_in]``.
        cross: ``E[t x'^T]``, ``[d_out, d_in]``, where ``t`` is the target minus ``W x' + b``.
        input: ``E[x']``, ``[d_in]``.
        missing: ``E[t]``, ``[d_out]``.
    """

    mass: float
    second: Tensor
    cross: Tensor
    input: Tensor
    missing: Tensor

    def centred(self) -> Half:
        """About the means, which a bias takes."""
        second = self.second - torch.outer(self.input, self.input)
        # Of a constant input rounding alone remains, which need not be positive.
        second.diagonal().add_(ROUNDING * self.second.diagonal().mean())
        return Half(
            self.mass,
            second,
            self.cross - torch.outer(self.missing, self.input),
            torch.zeros_like(self.input),
            torch.zeros_like(self.missing),
        )


@dataclass(frozen=True)
class Drift:
    """What a layer receives and lacks, over two disjoint halves of the calibration.

    There is one half only where the calibration is a single sample.
    """

    halves: Sequence[Half]

    def whole(self) -> Half:
        """Both halves together."""
        mass = sum(half.mass for half in self.halves)

        def mean(name: str) -> Tensor:
            parts = [half.mass / mass * getattr(half, name) for half in self.halves]
            return torch.stack(parts).sum(0)

        return Half(mass, mean("second"), mean("cross"), mean("input"), mean("missing"))


def confirmed_change(halves: Sequence[Half], whole: Half, root: Tensor) -> Tensor:
    """What to add to ``W`` to make up for drift, ``[d_out, d_in]``.

    ``beta cross (second + lam I)^-1`` of the whole calibration, with the ridge ``lam`` and the
    ``0 <= beta <= 1`` under which the changes of the two halves lower each other's error most; zero
    where none does, and for a single half, which nothing confirms. From the one that is most often
    best on, ridges are tried as long as each lowers it more than the one before.

    Args:
        halves: at most two.
        whole: both together.
        root: ``R`` with ``R R^T`` the metric of the errors, ``[d_out, d_out]``.

    Raises:
        NonFiniteError: the inputs' moments hold NaN or infinity.
    """
    nothing = torch.zeros_like(whole.cross)
    if len(halves) < 2 or not all(bool(half.second.any()) for half in halves):
        return nothing
    weighed = [root.T @ half.cross for half in halves]

    def confirmed(damping: float) -> tuple[float, float]:
        """By how much the error is lowered, and by which share of the change."""
        gain = cost = 0.0
        for half, other in ((0, 1), (1, 0)):
            step = _ridge(weighed[half], halves[half].second, damping)
            gain += float((step * weighed[other]).sum())
            cost += float(energy(step, halves[other].second))
        share = min(gain / cost, 1.0) if gain > 0 and cost > 0 else 0.0
        return share * (2 * gain - share * cost), share

    lowered, share = confirmed(DAMPINGS[START])
    chosen = DAMPINGS[START]
    for way in (DAMPINGS[START + 1 :], DAMPINGS[START - 1 :: -1]):
        for damping in way:
            tried, part = confirmed(damping)
            if tried <= lowered:
                break
            lowered, share, chosen = tried, part, damping
        if chosen != DAMPINGS[START]:
            break
    return share * _ridge(whole.cross, whole.second, chosen) if share else nothing


def _ridge(cross: Tensor, second: Tensor, damping: float) -> Tensor:
    root = torch.linalg.cholesky(damped(second, damping))
    return torch.cholesky_solve(cross.T, root).T
