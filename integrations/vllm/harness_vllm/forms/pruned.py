"""An MLP with fewer neurons.

Nothing but the layers of one MLP sees its neurons, all of which keep the same ones: to them it is
a smaller MLP, whose activation vLLM applies to as many numbers as there are.
"""

from __future__ import annotations

from torch import Tensor

from harness_vllm.coordinates import Coordinates
from harness_vllm.forms.form import Form, Tensors
from harness_vllm.matrix import Matrix


class _Pruned(Form):
    names = ("weight", "kept")

    def __init__(self, tensors: Tensors) -> None:
        super().__init__(tensors)
        self.matrix = Matrix(tensors["weight"], tensors.get("bias"))

    def forward(self, x: Tensor) -> Tensor:
        """``W x + bias``, on or to the neurons that are there."""
        return self.matrix(x)


class KeptRows(_Pruned):
    """``y = W x + bias`` for ``k`` neurons, ``W: [k, d_in]``."""

    @staticmethod
    def rows(tensors: Tensors, kept: Coordinates) -> Tensors:
        """As large a share of the neurons that are there as ``kept`` is of all.

        Raises:
            ValueError: there are too few.
        """
        share = _share(tensors, kept)
        bias = {"bias": tensors["bias"][share]} if "bias" in tensors else {}
        return tensors | {"weight": tensors["weight"][share]} | bias

    @staticmethod
    def columns(tensors: Tensors, kept: Coordinates) -> Tensors:
        """Columns of ``W``."""
        return tensors | {"weight": tensors["weight"][:, kept.index]}


class KeptColumns(_Pruned):
    """``y = W x + bias`` from ``k`` neurons, ``W: [d_out, k]``."""

    @staticmethod
    def rows(tensors: Tensors, kept: Coordinates) -> Tensors:
        """Rows of ``W``."""
        bias = {"bias": tensors["bias"][kept.index]} if "bias" in tensors else {}
        return tensors | {"weight": tensors["weight"][kept.index]} | bias

    @staticmethod
    def columns(tensors: Tensors, kept: Coordinates) -> Tensors:
        """As large a share of the neurons that are there as ``kept`` is of all.

        Raises:
            ValueError: there are too few.
        """
        return tensors | {"weight": tensors["weight"][:, _share(tensors, kept)]}


def _share(tensors: Tensors, kept: Coordinates) -> slice:
    count = tensors["kept"].numel()
    share = kept.share(count)
    if share.start == share.stop:
        raise ValueError(f"it keeps {count} neurons, fewer than there are ranks")
    return share
