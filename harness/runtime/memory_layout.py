"""How weights lie in memory."""

from __future__ import annotations

import torch
from torch import nn

WIDE = 4
"""From this many times more inputs than outputs on, a vector's product reads rows faster."""


def set_memory_layout(layer: nn.Module) -> None:
    """Let the matrices of ``layer`` lie column after column where a CPU multiplies faster so.

    A product with one vector, as decoding takes, then streams through memory up to 1.5 times as
    fast in single precision; with many it takes as long as before. In half precision columns are
    much slower than rows, and on other devices it makes no difference: they are left as they are.
    """
    for name, matrix in list(layer.named_parameters(recurse=False)):
        if (
            matrix.dim() == 2
            and matrix.dtype == torch.float32
            and matrix.device.type == "cpu"
            and matrix.shape[1] < WIDE * matrix.shape[0]
        ):
            columns = matrix.detach().T.contiguous().T
            setattr(layer, name, nn.Parameter(columns, requires_grad=False))
