"""Projections stored in one matrix: read as parts, compressed as parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from harness.layers.factors import CompressedLinear
from harness.layers.weights import LinearWeights


@dataclass(frozen=True)
class Part:
    """The ``index``-th of ``count`` equal groups of rows of the linear layer at ``path``."""

    path: str
    index: int
    count: int

    def of(self, whole: LinearWeights) -> LinearWeights:
        """These rows of ``whole``, sharing its memory."""
        weight = whole.weight.chunk(self.count)[self.index]
        bias = None if whole.bias is None else whole.bias.chunk(self.count)[self.index]
        return LinearWeights(weight, bias)


class FusedFactors(nn.ModuleDict):
    """Compressed parts that read one input; their outputs are joined in order."""

    @property
    def in_features(self) -> int:
        """Size of what the parts read."""
        return next(self._layers()).in_features

    @property
    def out_features(self) -> int:
        """Size of what they write together."""
        return sum(part.out_features for part in self._layers())

    def _layers(self) -> Iterator[CompressedLinear]:
        return (part for part in self.values() if isinstance(part, CompressedLinear))

    def forward(self, x: Tensor) -> Tensor:
        """``[..., d_in]`` to ``[..., sum of d_out]``."""
        return torch.cat([part(x) for part in self.values()], -1)
