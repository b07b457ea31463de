"""One layer between the moments of its inputs and of the gradients at its output."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from compressors.two_sided.config import Config, Shrinkage
from harness.algebra.neurons import Neurons, Removal, dependence, refitted, removal
from harness.algebra.preconditioners import root_covariance
from harness.algebra.two_sided import believed, output_metric, two_sided_product
from harness.compression.local import updated_bias, updates_bias
from harness.plugin import (
    SITE_OF_ROLE,
    BackwardStatistics,
    BlockStatistics,
    BlockWeights,
    CompressedLinear,
    KeptColumns,
    KeptRows,
    LinearWeights,
    Moments,
    Preconditioner,
    Role,
    Site,
    join,
)

MLP: tuple[Role, ...] = ("gate", "up", "down")
"""The layers that share the neurons."""


@dataclass(frozen=True)
class TwoSidedLayer:
    """One layer between two moments.

    Attributes:
        weights: as it was.
        W: what is to be fitted, ``[d_out, d_in]``.
        C: of the inputs, as far as their correlations are believed, ``[d_in, d_in]``.
        mean: of the inputs, ``[d_in]``.
        missing: what the bias should add to itself beside the error's mean, ``[d_out]``.
        output: metric of the gradients.
    """

    weights: LinearWeights
    W: Tensor
    C: Tensor
    mean: Tensor
    missing: Tensor
    output: Preconditioner

    def factor(self, metric: Preconditioner, rank: int, config: Config) -> CompressedLinear:
        """Of low rank; ``metric`` is that of ``C``."""
        product = two_sided_product(self.W, self.output, metric, rank)
        return join(product, metric, config.junction, self._bias(product.dense(), config))

    def removal(
        self, metric: Preconditioner, statistics: BlockStatistics, count: int = 0
    ) -> Removal:
        """Of the neurons that it reads, all but ``count`` of them; ``metric`` is that of ``C``."""
        weights = self.weights.weight.double()
        backward, inputs = backward_of(statistics), statistics.moments["mlp_inner"].second
        G = backward.gradients["down"].second
        more = dependence(backward.influence, weights, G, inputs)
        return removal(self.W * more.sqrt(), self.output, metric.metric, count)

    def fewer(
        self,
        metric: Preconditioner,
        block: BlockWeights,
        statistics: BlockStatistics,
        count: int,
        config: Config,
    ) -> dict[Role, CompressedLinear]:
        """The down projection and the layers before it with ``count`` neurons left."""
        C = metric.metric
        kept = self.removal(metric, statistics, count).kept(count)
        down = KeptColumns(refitted(self.W, C, kept), kept, len(C), None)
        bias = self._bias(down.dense(), config)
        factors: dict[Role, CompressedLinear] = {
            "down": KeptColumns(down.weight, kept, len(C), bias)
        }
        for role in mlp_roles(block):
            if role != "down":
                layer = block.layers[role]
                rows = None if layer.bias is None else layer.bias[kept]
                factors[role] = KeptRows(layer.weight[kept], kept, len(C), rows)
                # Neurons that stay are what they were; what the others leave is charged to down.
                factors[role].equivalent = layer
        return factors

    def _bias(self, fitted: Tensor, config: Config) -> Tensor | None:
        W = self.weights.weight.double()
        bias = updated_bias(self.weights, W, fitted, self.mean, config.bias_update)
        if bias is None or not updates_bias(self.weights, config.bias_update):
            return bias
        return bias + self.missing


def two_sided_layers(
    block: BlockWeights, statistics: BlockStatistics, config: Config
) -> Iterator[tuple[Role, TwoSidedLayer, Preconditioner]]:
    """Every layer, with the metric of its inputs, which may be shared."""
    confirmed = backward_of(statistics).confirmed
    known: dict[tuple[Site, bool], tuple[Tensor, Preconditioner]] = {}
    for role, weights in block.layers.items():
        site = SITE_OF_ROLE[role]
        moments, centred = statistics.moments[site], updates_bias(weights, config.bias_update)
        if (site, centred) not in known:
            share = unconfirmed_share(config.shrinkage, confirmed[site])
            C = believed(moments.covariance(), None if centred else moments.mean, share)
            known[site, centred] = C, root_covariance(C, config.damping)
        C, metric = known[site, centred]
        W, output = weights.weight.double(), gradient_metric(role, statistics, config)
        yield (
            role,
            TwoSidedLayer(weights, W, C, moments.mean, torch.zeros_like(W[:, 0]), output),
            metric,
        )


def mlp_roles(block: BlockWeights) -> tuple[Role, ...]:
    """The layers of the MLP that ``block`` has."""
    return tuple(role for role in MLP if role in block.layers)


def stays_dense(layer: LinearWeights, rank: int) -> bool:
    """Whether ``rank`` leaves the layer as it is; a number of neurons never does."""
    return rank == min(layer.weight.shape) and not isinstance(rank, Neurons)


def counted_tokens(gradients: Moments) -> int:
    """How many count; a layer on which no prediction depends is fitted, but nothing is spent."""
    return gradients.count if bool(gradients.second.any()) else 0


def gradient_metric(role: Role, statistics: BlockStatistics, config: Config) -> Preconditioner:
    """Metric of the gradients at the output of ``role``."""
    backward = backward_of(statistics)
    share = unconfirmed_share(config.gradient_shrinkage, backward.confirmed[role])
    return output_metric(backward.gradients[role].second, share, config.gradient_damping)


def backward_of(statistics: BlockStatistics) -> BackwardStatistics:
    """What the backward pass has seen, which ``twinroot`` always asks for."""
    assert statistics.backward is not None
    return statistics.backward


def unconfirmed_share(shrinkage: Shrinkage, confirmed: float) -> float:
    """Share of correlations that is not believed."""
    return 1 - confirmed if shrinkage == "held-out" else float(shrinkage)
