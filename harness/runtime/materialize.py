"""Layers whose identity block, or whose product of both factors, is written out to save time."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.layers.factors import (
    CompressedLinear,
    DenseLinear,
    HeadIdentity,
    InputIdentity,
    LowRank,
    OutputIdentity,
)
from harness.layers.shapes import shape_of

LowRankForm = LowRank | InputIdentity | OutputIdentity | HeadIdentity

GATHER = 16
"""Multiply-accumulates that take as long as bringing one number to its place."""

SAVING = 0.92
"""Up to this share of its operations two products in turn are quicker than a single one."""


def cheapest(layer: LowRankForm) -> CompressedLinear:
    """``layer`` in the form that takes the least time, which its shape alone decides.

    Of ``d = r (d_out + d_in)`` multiply-accumulates, a block identity saves ``r^2``, but it
    gathers its input (or output), at ``GATHER`` for each number; where that costs more, it is
    written out. Where neither form takes less than ``SAVING`` of the ``d_out d_in`` of a dense
    matrix, as at small ratios, the product of both factors is.
    """
    form = shape_of(layer)
    plain = form.rank * (form.d_out + form.d_in)
    least = min(plain, plain - _saved_by_identity(layer))
    if least >= SAVING * form.d_out * form.d_in:
        return DenseLinear(decompression(layer) @ compression(layer), _bias(layer))
    if least == plain:
        return LowRank(decompression(layer), compression(layer), _bias(layer))
    return layer


def in_order(layer: InputIdentity | HeadIdentity) -> bool:
    """Whether it reads its input as it comes: ``kept`` are the first coordinates."""
    order = torch.cat([layer.kept, layer.rest])
    return torch.equal(order, torch.arange(len(order), dtype=order.dtype, device=order.device))


def compression(layer: LowRankForm) -> Tensor:
    """``A: [r, d_in]`` in full."""
    match layer:
        case LowRank():
            return layer.A.detach()
        case OutputIdentity():
            return layer.F.detach()
    A = layer.T.new_zeros(layer.rank, layer.kept.numel() + layer.rest.numel())
    A[torch.arange(layer.rank), layer.kept.long()] = 1
    A[:, layer.rest.long()] = layer.T.detach()
    return A


def decompression(layer: LowRankForm) -> Tensor:
    """``B: [d_out, r]`` in full."""
    if not isinstance(layer, HeadIdentity):
        return layer.decompression().detach()
    heads, size, _ = layer.U.shape
    B = layer.U.new_zeros(heads, size, layer.rank)
    for i in range(heads):
        B[i][torch.arange(size), layer.head_kept[i].long()] = 1
        B[i][:, layer.head_rest[i].long()] = layer.U[i].detach()
    return B.flatten(0, 1)


def _saved_by_identity(layer: LowRankForm) -> int:
    """Multiply-accumulates; below zero where it costs more than it saves."""
    match layer:
        case LowRank():
            return 0
        case OutputIdentity():
            gathered = layer.kept.numel() + layer.rest.numel()
        case InputIdentity() | HeadIdentity():
            gathered = 0 if in_order(layer) else layer.kept.numel() + layer.rest.numel()
    return layer.rank**2 - GATHER * gathered


def _bias(layer: CompressedLinear) -> Tensor | None:
    return None if layer.bias is None else layer.bias.detach()
