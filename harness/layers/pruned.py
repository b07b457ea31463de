"""An MLP with fewer neurons: the rows of gate and up, and the columns of down, that stay."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from harness.layers.factors import CompressedLinear, frozen


class _Pruned(CompressedLinear):
    """``kept: [k]`` says which of ``size`` neurons the weight is for, in ascending order."""

    kept: Tensor

    def __init__(self, weight: Tensor, kept: Tensor, size: int, bias: Tensor | None) -> None:
        super().__init__(weight.shape[1], weight.shape[0], bias)
        self.weight = frozen(weight)
        self.size = size
        self.register_buffer("kept", kept.to(torch.int32))

    @property
    def rank(self) -> int:
        """Neurons ``k`` that are kept."""
        return self.kept.numel()

    def forward(self, x: Tensor) -> Tensor:
        """``weight x + bias``, on or to the ``k`` neurons that are there."""
        return F.linear(x, self.weight, self.bias)


class KeptRows(_Pruned):
    """``y = weight x + bias`` for the neurons in ``kept`` alone, ``weight: [k, d_in]``.

    The neurons that are gone were given nothing to do: their rows count as zero.
    """

    form = "kept-rows"

    def dense(self) -> Tensor:
        """The rows among zeros, ``[size, d_in]``."""
        whole = self.weight.new_zeros(self.size, self.weight.shape[1])
        return whole.index_copy_(0, self.kept.long(), self.weight.detach())

    def dense_bias(self) -> Tensor | None:
        """Likewise, ``[size]``."""
        if self.bias is None:
            return None
        whole = self.bias.new_zeros(self.size)
        return whole.index_copy_(0, self.kept.long(), self.bias.detach())


class KeptColumns(_Pruned):
    """``y = weight x + bias`` from the neurons in ``kept`` alone, ``weight: [d_out, k]``."""

    form = "kept-columns"

    def dense(self) -> Tensor:
        """The columns among zeros, ``[d_out, size]``."""
        whole = self.weight.new_zeros(self.weight.shape[0], self.size)
        return whole.index_copy_(1, self.kept.long(), self.weight.detach())
