"""A factor with an identity block on the side of the input."""

from __future__ import annotations

import torch
from torch import Tensor

from harness_vllm.coordinates import Coordinates
from harness_vllm.forms.form import Form, Tensors, picked_bias
from harness_vllm.matrix import Matrix, gathered


class InputIdentity(Form):
    """``y = F (x[kept] + T x[rest]) + bias``; ``F: [d_out, r]``, ``T: [r, d_in - r]``.

    On a part of the input ``kept`` may be shorter than ``r``: it is added to the first latents.
    """

    names = ("F", "T", "kept", "rest")
    order: Tensor | None

    def __init__(self, tensors: Tensors) -> None:
        super().__init__(tensors)
        self.latent = Latent(tensors)
        self.F = Matrix(tensors["F"], tensors.get("bias"))

    @staticmethod
    def rows(tensors: Tensors, kept: Coordinates) -> Tensors:
        """Rows of ``F``."""
        return tensors | {"F": tensors["F"][kept.index]} | picked_bias(tensors, kept.index)

    @staticmethod
    def columns(tensors: Tensors, kept: Coordinates) -> Tensors:
        """Columns of ``T``; latents that have their coordinate of the input here come first."""
        places = kept.places()
        identity, others = places[tensors["kept"].long()], places[tensors["rest"].long()]
        here = torch.cat([(identity >= 0).nonzero(), (identity < 0).nonzero()]).flatten()
        return tensors | {
            "F": tensors["F"][:, here],
            "T": tensors["T"][here][:, others >= 0],
            "kept": identity[identity >= 0],
            "rest": others[others >= 0],
        }

    def forward(self, x: Tensor) -> Tensor:
        """``F z + bias``."""
        return self.F(self.latent(x))


class Latent(torch.nn.Module):
    """``x[kept] + T x[rest]``, the input gathered once."""

    order: Tensor | None

    def __init__(self, tensors: Tensors) -> None:
        super().__init__()
        kept, rest = tensors["kept"], tensors["rest"]
        self.rank, self.identity, self.others = len(tensors["T"]), len(kept), len(rest)
        order = torch.cat([kept, rest]).long()
        ordered = bool((order == torch.arange(len(order))).all())
        self.register_buffer("order", None if ordered else order)
        self.T = Matrix(tensors["T"]) if tensors["T"].numel() else None

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x: [n, d_in]`` to ``[n, r]``."""
        if self.order is not None:
            x = gathered(x, self.order)
        z = x[:, : self.identity]
        missing = self.rank - self.identity
        if missing:
            z = torch.nn.functional.pad(z, (0, missing))
        return z if self.T is None else z + self.T(x[:, self.identity :])
