"""From latents to heads."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from harness.layers.factors import Bottleneck


@dataclass(frozen=True)
class HeadMap:
    """The map from latents to heads, written out: ``B: [kv_heads head_size, r]`` and the bias."""

    B: Tensor
    bias: Tensor | None
    head_size: int

    @classmethod
    def of(cls, factor: Bottleneck, head_size: int) -> HeadMap:
        """That of a key or value projection."""
        return cls(factor.decompression(), factor.bias, head_size)

    def __call__(self, z: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """``[batch, 1, n, r]`` to heads ``start`` to ``stop``: ``[batch, n, heads, head_size]``."""
        size = self.head_size
        rows = slice(start * size, stop and stop * size)
        y = F.linear(z[:, 0], self.B[rows], None if self.bias is None else self.bias[rows])
        return y.view(*y.shape[:2], -1, size)
