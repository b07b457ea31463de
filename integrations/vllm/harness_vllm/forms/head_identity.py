"""A factor with an identity block in each head's rows, and one on the side of the input."""

from __future__ import annotations

import torch
from torch import Tensor

from harness_vllm.coordinates import Coordinates
from harness_vllm.forms.form import Form, Tensors, picked_bias
from harness_vllm.forms.input_identity import Latent
from harness_vllm.matrix import gathered


class HeadIdentity(Form):
    """``z = x[kept] + T x[rest]``; per head ``y_i = z[head_kept_i] + U_i z[head_rest_i]``.

    ``T: [r, d_in - r]``, ``U: [h, d_h, r - d_h]``, ``head_kept: [h, d_h]``,
    ``head_rest: [h, r - d_h]``; the bias is added to all of ``y``.
    """

    names = ("T", "U", "kept", "rest", "head_kept", "head_rest")
    order: Tensor
    bias: Tensor | None

    def __init__(self, tensors: Tensors) -> None:
        super().__init__(tensors)
        self.latent = Latent(tensors)
        self.U = torch.nn.Parameter(tensors["U"].mT.contiguous(), requires_grad=False)
        heads = [tensors["head_kept"].flatten(), tensors["head_rest"].flatten()]
        self.d_out = len(heads[0])
        self.register_buffer("order", torch.cat(heads).long())
        self.register_buffer("bias", tensors.get("bias"))

    @staticmethod
    def rows(tensors: Tensors, kept: Coordinates) -> Tensors:
        """Whole heads.

        Raises:
            ValueError: ``kept`` are no whole heads.
        """
        size = tensors["U"].shape[1]
        heads = kept.index[::size] // size
        whole = (heads[:, None] * size + torch.arange(size)).flatten()
        if not torch.equal(whole, kept.index):
            raise ValueError(f"a part of it is no whole heads of {size}")
        picked = {name: tensors[name][heads] for name in ("U", "head_kept", "head_rest")}
        return tensors | picked | picked_bias(tensors, kept.index)

    @staticmethod
    def columns(tensors: Tensors, kept: Coordinates) -> Tensors:
        """None: no layer that vLLM splits by its input is of this form.

        Raises:
            ValueError: always.
        """
        del tensors, kept
        raise ValueError("head-identity cannot be split by its input")

    def forward(self, x: Tensor) -> Tensor:
        """Each head's kept coordinates of ``z`` plus ``U_i`` times the others, plus bias."""
        kept, others = gathered(self.latent(x), self.order).tensor_split([self.d_out], -1)
        others = others.unflatten(-1, self.U.shape[:2]).transpose(0, 1)
        y = kept + torch.bmm(others, self.U).transpose(0, 1).flatten(-2)
        return y if self.bias is None else y + self.bias
