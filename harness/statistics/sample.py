"""A bounded, evenly spread sample of tokens, for methods that need more than moments."""

from __future__ import annotations

import torch
from torch import Tensor


class TokenSample:
    """Keeps every ``stride``-th token; the stride doubles whenever ``capacity`` is passed.

    Deterministic and independent of how the tokens are cut into batches: after any stream the
    sample is the tokens at positions ``0, stride, 2 stride, ...``, at most ``capacity`` of them.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.stride = 1
        self._seen = 0
        self._chunks: list[Tensor] = []

    def add(self, tokens: Tensor) -> None:
        """Add ``tokens: [n, d]``."""
        first = -self._seen % self.stride
        self._chunks.append(tokens[first :: self.stride].clone())
        self._seen += tokens.shape[0]
        while sum(len(chunk) for chunk in self._chunks) > self.capacity:
            self._chunks = [torch.cat(self._chunks)[::2].clone()]
            self.stride *= 2

    def tokens(self) -> Tensor:
        """The sampled tokens in order, ``[m, d]`` with ``m <= capacity``."""
        return torch.cat(self._chunks)
