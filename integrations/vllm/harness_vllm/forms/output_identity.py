"""A factor with an identity block on the side of the output."""

from __future__ import annotations

import torch
from torch import Tensor

from harness_vllm.coordinates import Coordinates
from harness_vllm.forms.form import Form, Tensors, picked_bias
from harness_vllm.matrix import Matrix, gathered


class OutputIdentity(Form):
    """``z = F x; y[kept] = z, y[rest] = T z``; ``F: [r, d_in]``, ``T: [d_out - r, r]``."""

    names = ("F", "T", "kept", "rest")
    order: Tensor
    bias: Tensor | None

    def __init__(self, tensors: Tensors) -> None:
        super().__init__(tensors)
        self.F = Matrix(tensors["F"])
        self.T = Matrix(tensors["T"]) if tensors["T"].numel() else None
        self.register_buffer("order", _order(tensors).long())
        self.register_buffer("bias", tensors.get("bias"))

    @staticmethod
    def rows(tensors: Tensors, kept: Coordinates) -> Tensors:
        """Rows of ``T``, and which latents are outputs too."""
        rank = len(tensors["F"])
        order = _order(tensors)[kept.index]
        used = order[order >= rank]
        places = torch.zeros(rank + len(tensors["T"]), dtype=torch.long)
        places[used] = rank + torch.arange(len(used))
        return (
            tensors
            | {
                "T": tensors["T"][used - rank],
                "order": torch.where(order < rank, order, places[order]),
            }
            | picked_bias(tensors, kept.index)
        )

    @staticmethod
    def columns(tensors: Tensors, kept: Coordinates) -> Tensors:
        """Columns of ``F``."""
        return tensors | {"F": tensors["F"][:, kept.index]}

    def forward(self, x: Tensor) -> Tensor:
        """``z`` beside ``T z``, put in order, plus bias."""
        z = self.F(x)
        y = gathered(z if self.T is None else torch.cat([z, self.T(z)], -1), self.order)
        return y if self.bias is None else y + self.bias


def _order(tensors: Tensors) -> Tensor:
    """For each output its place in ``[z, T z]``."""
    if "order" in tensors:
        return tensors["order"]
    return torch.cat([tensors["kept"], tensors["rest"]]).argsort()
