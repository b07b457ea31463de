"""First and second moments of an activation, accumulated in bounded memory."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from harness.algebra.packed import add_gram, pack, packed_zeros, unpack
from harness.errors import NonFiniteError, UsageError
from harness.statistics.cross_validation import CrossValidation


@dataclass(frozen=True)
class Moments:
    """Moments of the tokens ``x: [d]`` that enter a layer (``C`` and ``mu`` in the algebra).

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


ROWS = 4096
"""Tokens added at a time, so that what is made of them stays in a processor's cache."""

NEAR = 128
"""Tokens whose magnitudes are summed at a time, in a processor's nearest caches."""


class MomentAccumulator:
    """Sums in float64, on the device of the activations, about an origin.

    Memory is ``d^2 / 2`` numbers whatever the number of tokens. Products are formed in at least
    float32 and, if ``centred``, about the mean of the first tokens, so that a channel whose mean is
    large against its spread still has an accurate covariance. If ``compared``, whatever is added
    at a time is one sample, and is compared with the others about the same origin.
    """

    def __init__(
        self, size: int, device: torch.device, *, centred: bool = True, compared: bool = False
    ) -> None:
        self.count = 0
        self._centred = centred
        self._cross_validation = CrossValidation(device) if compared else None
        self.size, self.device = size, device
        self._origin = torch.zeros(size, dtype=torch.float64, device=device)
        self._second = packed_zeros(size, device)
        self._sum = torch.zeros_like(self._origin)
        self._magnitude = torch.zeros_like(self._origin)

    def add(self, tokens: Tensor) -> None:
        """Add ``tokens: [n, d]``.

        Raises:
            NonFiniteError: a token holds NaN or infinity.
        """
        if len(tokens) == 0:
            return
        parts = tokens.split(len(tokens) if self._cross_validation else ROWS)
        at_once = NEAR if tokens.device.type == "cpu" else ROWS
        sums = [widened(rows).abs().sum(0) for rows in tokens.split(at_once)]
        magnitude = torch.stack(sums).sum(0, dtype=torch.float64)
        if not bool(torch.isfinite(magnitude).all()):
            raise NonFiniteError("the activations on the calibration data hold NaN or infinity")
        if self.count == 0 and self._centred:
            self._origin = widened(parts[0]).mean(0).double()
        self.count += len(tokens)
        self._magnitude += magnitude
        for part in parts:
            x = widened(part)
            x = x - self._origin.to(x.dtype)
            self._sum += x.sum(0)
            add_gram(
                self._second,
                x,
                self._cross_validation.sample(x) if self._cross_validation else None,
            )

    def confirmed(self) -> float:
        """How much of the correlations between channels the samples confirm in each other."""
        assert self._cross_validation is not None
        return self._cross_validation.share(unpack(self._second))

    def moments(self) -> Moments:
        """The normalised moments.

        Raises:
            UsageError: no token was seen.
        """
        held = copy.deepcopy(self).packed()
        return replace(held, second=unpack(held.second))

    def packed(self) -> Moments:
        """``moments`` with a packed ``second`` (see ``harness.algebra.packed``).

        The accumulator is spent: they take over its memory.

        Raises:
            UsageError: no token was seen.
        """
        if self.count == 0:
            raise UsageError("no calibration token was seen; pass a longer calibration text")
        # New tensors, however small, would split the room that the large ones leave.
        self._second += pack(_about(self.count, self._sum, self._origin))
        for total in (self._second, self._sum, self._magnitude):
            total.div_(self.count)
        self._sum += self._origin
        return Moments(self.count, self._second, self._sum, self._magnitude)


def widened(tokens: Tensor) -> Tensor:
    """In at least float32."""
    return tokens if tokens.dtype == torch.float64 else tokens.float()


def _about(count: int, total: Tensor, shift: Tensor) -> Tensor:
    """What ``sum x x^T`` gains when every ``x`` moves by ``shift``; ``total`` is ``sum x``."""
    return torch.outer(total + count * shift, shift).addr_(shift, total)
