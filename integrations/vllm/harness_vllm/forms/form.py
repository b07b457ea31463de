"""What all forms have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from harness_vllm.coordinates import Coordinates

Tensors = dict[str, Tensor]


class Form(nn.Module, ABC):
    """A linear layer, made of what is stored of it."""

    names: ClassVar[tuple[str, ...]]
    """What is stored, beside a bias."""

    @abstractmethod
    def __init__(self, tensors: Tensors) -> None:
        super().__init__()

    @staticmethod
    @abstractmethod
    def rows(tensors: Tensors, kept: Coordinates) -> Tensors:
        """What is needed for the coordinates ``kept`` of the output.

        Raises:
            ValueError: the form has no such part.
        """

    @staticmethod
    @abstractmethod
    def columns(tensors: Tensors, kept: Coordinates) -> Tensors:
        """What is needed for the coordinates ``kept`` of the input, all others being zero.

        The bias is left alone.

        Raises:
            ValueError: the form has no such part.
        """

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Map ``x: [n, d_in]`` to ``[n, d_out]``."""


def picked_bias(tensors: Tensors, index: Tensor) -> Tensors:
    """The bias of some outputs, if there is one."""
    return {"bias": tensors["bias"][index]} if "bias" in tensors else {}
