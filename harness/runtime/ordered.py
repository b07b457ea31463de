"""Block-identity layers that gather their input at most once."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from harness.factors import HeadIdentity, InputIdentity


class OrderedIdentity(nn.Module):
    """``y = F (x'[:r] + T x'[r:]) + bias`` where ``x'`` is ``x`` in another order.

    ``F: [d_out, r]``, ``T: [r, d_in - r]``; ``order: [d_in]`` says what ``x'`` reads, None that
    ``x`` already comes in that order. It only runs: what is saved is the factor it is made from.
    """

    order: Tensor | None

    def __init__(self, F: Tensor, T: Tensor, order: Tensor | None, bias: Tensor | None) -> None:
        super().__init__()
        self.F = nn.Parameter(F, requires_grad=False)
        self.T = nn.Parameter(T, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        # CPUs gather by 64-bit indices faster than by the 32-bit ones that are stored.
        self.register_buffer("order", None if order is None else order.long())

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x: [..., d_in]`` to ``[..., d_out]``."""
        rows = x.reshape(-1, x.shape[-1])
        if self.order is not None:
            rows = rows.index_select(-1, self.order)
        kept, rest = rows[:, : len(self.T)], rows[:, len(self.T) :]
        if len(rows) == 1:  # one vector's product is quicker alone than with an addition
            latent = kept + F.linear(rest, self.T)
        else:
            latent = torch.addmm(kept, rest, self.T.T)
        return F.linear(latent, self.F, self.bias).view(*x.shape[:-1], len(self.F))


def ordered(factor: InputIdentity | HeadIdentity, *, in_order: bool = False) -> OrderedIdentity:
    """``factor`` with its two gathers made one; the identity blocks of heads are written out.

    A product with ``h d_h^2`` more weights takes less time than the gathers it saves.

    Args:
        factor: shares its tensors with the result, except those of heads.
        in_order: the input will come as ``x[kept]`` before ``x[rest]``.
    """
    order = None if in_order else torch.cat([factor.kept, factor.rest])
    weight = factor.F if isinstance(factor, InputIdentity) else _written_out(factor)
    return OrderedIdentity(weight.detach(), factor.T.detach(), order, _data(factor.bias))


def _written_out(factor: HeadIdentity) -> Tensor:
    """``B: [h d_h, r]`` with the identity block of each head in it."""
    heads, size, _ = factor.U.shape
    B = factor.U.new_zeros(heads, size, factor.rank)
    for i in range(heads):
        B[i][torch.arange(size), factor.head_kept[i].long()] = 1
        B[i][:, factor.head_rest[i].long()] = factor.U[i]
    return B.flatten(0, 1)


def _data(bias: Tensor | None) -> Tensor | None:
    return None if bias is None else bias.detach()
