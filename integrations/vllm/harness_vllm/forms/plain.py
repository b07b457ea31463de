"""Two factors."""

from __future__ import annotations

from torch import Tensor

from harness_vllm.coordinates import Coordinates
from harness_vllm.forms.form import Form, Tensors, picked_bias
from harness_vllm.matrix import Matrix


class Plain(Form):
    """``y = B (A x) + bias`` with ``B: [d_out, r]``, ``A: [r, d_in]``."""

    names = ("B", "A")

    def __init__(self, tensors: Tensors) -> None:
        super().__init__(tensors)
        self.A = Matrix(tensors["A"])
        self.B = Matrix(tensors["B"], tensors.get("bias"))

    @staticmethod
    def rows(tensors: Tensors, kept: Coordinates) -> Tensors:
        """Rows of ``B``."""
        return tensors | {"B": tensors["B"][kept.index]} | picked_bias(tensors, kept.index)

    @staticmethod
    def columns(tensors: Tensors, kept: Coordinates) -> Tensors:
        """Columns of ``A``."""
        return tensors | {"A": tensors["A"][:, kept.index]}

    def forward(self, x: Tensor) -> Tensor:
        """``B (A x) + bias``."""
        return self.B(self.A(x))
