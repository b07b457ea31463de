"""Which correlations are the data's, and which one sample's own: every sample is held out once."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.algebra.packed import Seen

FLOOR = 0.1
"""Added to the energy of each channel, relative to the mean of all, before it is divided by."""


class CrossValidation:
    """How much of the correlations within a sample the other samples confirm.

    ``M_s = sum x x^T`` over the tokens of sample ``s``. The products ``<M_s, M_t>`` of different
    samples, diagonals left out and channels brought to one scale, estimate without bias the
    energy of what all samples share; the rest of the energy of ``sum_s M_s`` is chance. Memory is
    ``O(d)`` whatever the number of samples.
    """

    def __init__(self, device: torch.device) -> None:
        self._samples = 0
        self._own = torch.zeros((), dtype=torch.float64, device=device)

    def sample(self, x: Tensor) -> Seen:
        """Expects the rows of the products ``x^T x`` of one sample ``x: [n, d]``."""
        if self._samples == 0:
            energy = x.square().mean(0)
            energy = energy + FLOOR * energy.mean()
            self._scale = torch.where(energy > 0, energy.rsqrt(), torch.zeros_like(energy))
        self._samples += 1
        return self._see

    def share(self, total: Tensor) -> float:
        """What is confirmed, 0 to 1; ``total: [d, d]`` are the products of all samples.

        A single sample confirms nothing; where nothing is correlated all is confirmed.
        """
        if self._samples < 2:
            return 0.0
        energy = float(_energy(slice(0, len(total)), total.triu(), self._scale.double()))
        if energy == 0:
            return 1.0
        between = (energy - float(self._own)) * self._samples / (self._samples - 1)
        return min(max(between / energy, 0.0), 1.0)

    def _see(self, strip: slice, rows: Tensor) -> None:
        self._own += _energy(strip, rows, self._scale)


def _energy(strip: slice, rows: Tensor, scale: Tensor) -> Tensor:
    """Squares behind the diagonal, summed in float64."""
    scaled = rows * scale[strip.start :] * scale[strip, None]
    scaled.diagonal().zero_()
    return scaled.square_().sum(dtype=torch.float64)
