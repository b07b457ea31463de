"""Some coordinates of a layer's input or output: a rank's share, or all in another order."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Coordinates:
    """Positions ``index: [n]`` among ``size`` coordinates of the dense layer."""

    index: Tensor
    size: int

    @classmethod
    def span(cls, start: int, stop: int, size: int) -> Coordinates:
        """Those from ``start`` on that come before ``stop``."""
        return cls(torch.arange(start, stop), size)

    def whole(self) -> bool:
        """Whether they are all, in order."""
        return len(self.index) == self.size and bool((self.index == torch.arange(self.size)).all())

    def places(self) -> Tensor:
        """Where each coordinate of the dense layer went, ``[size]``; -1 where it is not here."""
        places = torch.full((self.size,), -1, dtype=torch.long)
        places[self.index] = torch.arange(len(self.index))
        return places

    def share(self, count: int) -> slice:
        """The same part of ``count`` as this consecutive span is of ``size``."""
        start, stop = int(self.index[0]), int(self.index[-1]) + 1
        return slice(count * start // self.size, count * stop // self.size)
