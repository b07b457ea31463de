"""Block-identity layers that gather their input at most once."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from harness.layers.factors import HeadIdentity, InputIdentity
from harness.runtime.materialize import decompression, in_order

STEP = 8
"""Products are fastest where inner dimensions are multiples of it."""


class SingleGatherIdentity(nn.Module):
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
        self.register_buffer("order", order)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x: [..., d_in]`` to ``[..., d_out]``."""
        rows = x.reshape(-1, x.shape[-1])
        if self.order is not None:
            rows = rows.index_select(-1, self.order)
        kept, rest = rows.split(self.T.shape, -1)
        latent = torch.addmm(kept, rest, self.T.T)
        return F.linear(latent, self.F, self.bias).view(*x.shape[:-1], len(self.F))


def with_single_gather(factor: InputIdentity | HeadIdentity) -> SingleGatherIdentity:
    """``factor`` with its two gathers made one, none if it reads its input in order.

    The identity blocks of heads are written out: a product with ``h d_h^2`` more weights takes
    less time than the gathers it saves. For the same reason its rank grows to the next multiple
    of ``STEP``, by columns of the identity that only copy: ``F [I T] = [F, F T_1] [I, [T_2; 0]]``.
    """
    # CPUs gather by 64-bit indices faster than by the 32-bit ones that are stored.
    order = torch.cat([factor.kept, factor.rest]).long()
    weight, T = decompression(factor), factor.T.detach()
    more = min(-factor.rank % STEP, T.shape[1])
    if more:
        weight = torch.cat([weight, weight @ T[:, :more]], 1)
        T = torch.cat([T[:, more:], T.new_zeros(more, T.shape[1] - more)])
    bias = None if factor.bias is None else factor.bias.detach()
    return SingleGatherIdentity(weight, T, None if in_order(factor) else order, bias)
