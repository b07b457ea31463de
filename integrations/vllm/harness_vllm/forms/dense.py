"""A layer left as it is."""

from __future__ import annotations

from torch import Tensor

from harness_vllm.coordinates import Coordinates
from harness_vllm.forms.form import Form, Tensors, picked_bias
from harness_vllm.matrix import Matrix


class Dense(Form):
    """``y = W x + bias``."""

    names = ("weight",)

    def __init__(self, tensors: Tensors) -> None:
        super().__init__(tensors)
        self.matrix = Matrix(tensors["weight"], tensors.get("bias"))

    @staticmethod
    def rows(tensors: Tensors, kept: Coordinates) -> Tensors:
        """Rows of ``W``."""
        return (
            tensors | {"weight": tensors["weight"][kept.index]} | picked_bias(tensors, kept.index)
        )

    @staticmethod
    def columns(tensors: Tensors, kept: Coordinates) -> Tensors:
        """Columns of ``W``."""
        return tensors | {"weight": tensors["weight"][:, kept.index]}

    def forward(self, x: Tensor) -> Tensor:
        """``W x + bias``."""
        return self.matrix(x)
