"""Which correlations are the data's, and which one sample's own: every sample is held out once."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.algebra.symmetric import gram
from harness.statistics.moments import Moments, widened

FLOOR = 0.1
"""Added to the energy of each channel, relative to the mean of all, before it is divided by."""


class Agreement:
    """How much of the correlations within a sample the other samples confirm.

    ``M_s = sum x x^T`` over the tokens of sample ``s``. The products ``<M_s, M_t>`` of different
    samples, diagonals left out and channels brought to one scale, estimate without bias the
    energy of what all samples share; the rest of the energy of ``sum_s M_s`` is chance. Memory is
    ``O(d)`` whatever the number of samples.
    """

    def __init__(self, *, centred: bool) -> None:
        """Correlations are taken about the mean of the first sample if ``centred``, else zero."""
        self._centred = centred
        self._samples = 0
        self._own = 0.0

    def add(self, tokens: Tensor) -> None:
        """Add all tokens of one sample, ``[n, d]``."""
        if len(tokens) == 0:
            return
        x = widened(tokens)
        if self._samples == 0:
            self._origin = x.mean(0) if self._centred else torch.zeros_like(x[0])
            energy = (x - self._origin).square().mean(0)
            energy = energy + FLOOR * energy.mean()
            self._scale = torch.where(energy > 0, energy.rsqrt(), torch.zeros_like(energy))
        self._samples += 1
        x = (x - self._origin) * self._scale
        self._own += _energy_of_products(x)

    def share(self, moments: Moments) -> float:
        """What is confirmed, 0 to 1; ``moments`` are those of all the tokens that were added.

        A single sample confirms nothing; where nothing is correlated all is confirmed.
        """
        if self._samples < 2:
            return 0.0
        shift = moments.mean - self._origin
        total = moments.covariance() + torch.outer(shift, shift)
        scale = self._scale.double()
        energy = _energy(moments.count * total * scale[:, None] * scale)
        if energy == 0:
            return 1.0
        between = (energy - self._own) * self._samples / (self._samples - 1)
        return min(max(between / energy, 0.0), 1.0)


def _energy_of_products(x: Tensor) -> float:
    """Squares of ``x^T x`` outside its diagonal, from the smaller of ``x^T x`` and ``x x^T``."""
    smaller = gram(x if len(x) < x.shape[1] else x.T)
    diagonal = x.square().sum(0, dtype=torch.float64)
    return float(smaller.square().sum(dtype=torch.float64) - diagonal.square().sum())


def _energy(M: Tensor) -> float:
    """Squares outside the diagonal, summed."""
    return float(M.square().sum(dtype=torch.float64) - M.diagonal().double().square().sum())
