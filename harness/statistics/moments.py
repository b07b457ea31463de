"""First and second moments of an activation, accumulated in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.errors import NonFiniteError, UsageError


@dataclass(frozen=True)
class Moments:
    """Moments of the tokens ``x: [d]`` that enter a layer (METHOD: ``C``, ``mu``).

    Attributes:
        count: number of tokens ``n``.
        second: uncentred second moment ``C = X X^T / n``, ``[d, d]``.
        mean: ``mu = X 1 / n``, ``[d]``.
        magnitude: mean of ``|x|``, ``[d]``.
    """

    count: int
    second: Tensor
    mean: Tensor
    magnitude: Tensor

    def covariance(self) -> Tensor:
        """Centred second moment ``C0 = C - mu mu^T``, ``[d, d]``."""
        return self.second - torch.outer(self.mean, self.mean)


STRIPS = 3
"""Row strips in which a second moment is summed; more save work but make smaller products."""


class MomentAccumulator:
    """Sums of ``x x^T``, ``x`` and ``|x|`` in float64, on the device of the activations.

    Memory is ``O(d^2)`` whatever the number of tokens. Products are formed in at least float32.
    """

    def __init__(self, size: int, device: torch.device) -> None:
        self.count = 0
        self._second = torch.zeros(size, size, dtype=torch.float64, device=device)
        self._sum = torch.zeros(size, dtype=torch.float64, device=device)
        self._magnitude = torch.zeros(size, dtype=torch.float64, device=device)

    def add(self, tokens: Tensor) -> None:
        """Add ``tokens: [n, d]``.

        Raises:
            NonFiniteError: a token holds NaN or infinity.
        """
        x = tokens if tokens.dtype == torch.float64 else tokens.float()
        magnitude = x.abs().sum(0)
        if not bool(torch.isfinite(magnitude).all()):
            raise NonFiniteError("the calibration activations hold NaN or infinity")
        self.count += x.shape[0]
        self._sum += x.sum(0)
        self._magnitude += magnitude
        # The moment is symmetric, so each strip of rows starts at its diagonal block.
        height = -(-x.shape[1] // STRIPS)
        for start in range(0, x.shape[1], height):
            rows = slice(start, start + height)
            self._second[rows, start:] += x[:, rows].T @ x[:, start:]

    def merge(self, other: MomentAccumulator) -> None:
        """Add what another accumulator has seen."""
        self.count += other.count
        self._second += other._second.to(self._second.device)
        self._sum += other._sum.to(self._sum.device)
        self._magnitude += other._magnitude.to(self._magnitude.device)

    def moments(self) -> Moments:
        """The normalised moments.

        Raises:
            UsageError: no token was seen.
        """
        if self.count == 0:
            raise UsageError("no calibration token was seen; pass a longer calibration text")
        upper = self._second.triu() / self.count
        return Moments(
            count=self.count,
            second=upper + upper.triu(1).T,
            mean=self._sum / self.count,
            magnitude=self._magnitude / self.count,
        )
