"""One matrix, run and packed as vLLM runs and packs those of dense layers."""

from __future__ import annotations

from torch import Tensor, nn
from vllm.model_executor.layers.linear import UnquantizedLinearMethod


class Matrix(nn.Module):
    """``y = W x + bias`` with ``W: [d_out, d_in]``."""

    bias: nn.Parameter | None

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.contiguous(), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        self.method = UnquantizedLinearMethod()
        self.bytes = self.weight.numel() * self.weight.element_size()
        self.method.process_weights_after_loading(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x: [n, d_in]`` to ``[n, d_out]``."""
        return self.method.apply(self, x, self.bias)


def gathered(x: Tensor, index: Tensor) -> Tensor:
    """``x[:, index]``; processors gather by 64-bit indices faster than by 32-bit ones."""
    return x.index_select(-1, index)
