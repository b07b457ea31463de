"""What the joint problems share: what a layer reads, its projection, the form it ends in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from compressors.joint.config import Config
from harness.algebra.lowrank import Fit, Product
from harness.algebra.preconditioners import root_covariance
from harness.algebra.ranks import rank_for
from harness.algebra.spectral import inverse_root
from harness.compression.local import LayerInput, updated_bias, updates_bias
from harness.layers.junction import join_heads
from harness.plugin import (
    SITE_OF_ROLE,
    BlockStatistics,
    BlockWeights,
    CompressedLinear,
    LinearWeights,
    Role,
    join,
)

DEFICIENT = 1e4
"""Condition number from which a head counts as of deficient rank."""


@dataclass(frozen=True)
class Problem:
    """One block, what calibration saw in it, the share ``keep`` of it that may remain."""

    block: BlockWeights
    statistics: BlockStatistics
    keep: float
    config: Config

    def centred(self, role: Role) -> bool:
        """Whether the layer's bias absorbs the mean, which its metric then leaves out."""
        return updates_bias(self.block.layers[role], self.config.bias_update)

    def seen(self, role: Role) -> LayerInput:
        """What enters the layer."""
        moments = self.statistics.moments[SITE_OF_ROLE[role]]
        C = moments.covariance() if self.centred(role) else moments.second
        return LayerInput(C, moments.mean, root_covariance(C, self.config.damping))

    def rank(self, role: Role) -> int:
        """Within the layer's own budget."""
        shape = self.block.layers[role].weight.shape
        return rank_for(shape, self.keep, self.config.junction)

    def head_rank(self, role: Role, free_basis: bool) -> tuple[int, bool]:
        """Rank of a layer read head by head, and whether each head gets an identity block.

        A head of deficient rank has no basis its bias could be written in.
        """
        weight, heads = self.block.layers[role].weight, self.block.attention.kv_heads
        rank = rank_in_heads(weight.shape, heads, self.keep, self.config)
        if free_basis and rank is not None:
            spread = torch.linalg.cond(split(weight.double(), heads))
            if bool((spread < DEFICIENT).all()):
                return rank, True
        return self.rank(role), False

    def left_out(self, role: Role, read: LayerInput, centred: bool) -> Tensor:
        """What inputs under the metric of ``read`` leave out of the output ``[d_out]``.

        That is its mean, or its bias if they are not ``centred``.
        """
        layer = self.block.layers[role]
        y = layer.weight.double() @ (read.mean if centred else torch.zeros_like(read.mean))
        return y if layer.bias is None else y + layer.bias

    def projected(self, role: Role, basis: Tensor, read: LayerInput) -> Fit:
        """``W P A'^T`` times ``A' P^-1`` for ``A': [r, d_in]``."""
        metric = read.preconditioner
        B = metric.whiten(self.block.layers[role].weight.double()) @ basis.T
        return self.fit(role, Product(B, inverse_root(metric.root, basis)), read)

    def fit(self, role: Role, product: Product, read: LayerInput) -> Fit:
        """``product`` with the bias that goes with it."""
        layer = self.block.layers[role]
        W, W_hat = layer.weight.double(), product.dense()
        bias = updated_bias(layer, W, W_hat, read.mean, self.config.bias_update)
        return Fit(product, bias, read.preconditioner)

    def joined(self, fit: Fit) -> CompressedLinear:
        """``fit`` in the form that the options ask for."""
        return join(fit.product, fit.preconditioner, self.config.junction, fit.bias)

    def joined_in_heads(
        self, by_head: Fit, reader: Fit, turned: Callable[[Tensor], Fit]
    ) -> tuple[CompressedLinear, CompressedLinear]:
        """``by_head`` with an identity block in each head, and ``reader`` in the heads' new bases.

        ``turned`` gives the latter for the transposed bases ``[h, d_h, d_h]``.
        """
        geometry = self.block.attention
        factor, basis = join_heads(by_head.product, geometry.kv_heads, by_head.bias)
        partner = self.joined(turned(basis.repeat_interleave(geometry.group, 0).mT))
        for made, fit in ((factor, by_head), (partner, reader)):
            made.equivalent = LinearWeights(fit.product.dense(), fit.bias)
        return factor, partner


def rank_in_heads(shape: Sequence[int], heads: int, keep: float, config: Config) -> int | None:
    """Rank of a layer with an identity block in each head too, None if it cannot have them."""
    if not config.head_junction or config.junction != "block-identity":
        return None
    size = shape[0] // heads
    rank = rank_for(shape, keep, config.junction, heads * size * size)
    return rank if rank >= size else None


def split(rows: Tensor, heads: int) -> Tensor:
    """The first dimension ``heads * d_h`` as ``[heads, d_h, ...]``."""
    return rows.unflatten(0, (heads, -1))


def turn(by: Tensor, rows: Tensor) -> Tensor:
    """``by: [h, d_h, d_h]`` applied to each head of ``rows: [h d_h, ...]``."""
    heads = rows.to(by).reshape(len(by), by.shape[-1], -1)
    return (by @ heads).reshape(rows.shape)
