"""Twinroot: every layer between the roots of two moments, all ranks from one budget.

What a layer's error costs the model depends on what enters the layer and on how predictions answer
to what leaves it. Each layer is the best low-rank fit under both (see
``harness.algebra.two_sided``), and what the fits leave out estimates the loss in one unit for all
layers, by which one budget is shared among them. An MLP is made smaller by whole neurons, under the
same two moments (see ``harness.algebra.neurons``). The layers that write to the residual stream
are fitted to what really enters them, to bring the stream back to the dense one (see
``harness.algebra.drift``). Training-free: gradients are statistics.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from compressors.two_sided.config import Config
from compressors.two_sided.layer import (
    TwoSidedLayer,
    backward_of,
    counted_tokens,
    gradient_metric,
    mlp_roles,
    stays_dense,
    two_sided_layers,
    unconfirmed_share,
)
from compressors.two_sided.uniform import uniform_ranks
from harness.algebra.drift import confirmed_change
from harness.algebra.neurons import Neurons
from harness.algebra.preconditioners import root_covariance
from harness.algebra.rank_curves import (
    dense_curve,
    pointwise_best,
    rank_curve,
    shared_by,
    sum_curves,
    unit_curve,
)
from harness.algebra.two_sided import believed, tails
from harness.compression.local import dense, updates_bias
from harness.layers.predicted import dense_shape, joined_shape, kept_shape
from harness.plugin import (
    SITE_OF_ROLE,
    WRITING_ROLES,
    BlockStatistics,
    BlockWeights,
    CompressedLinear,
    Drift,
    KeptColumns,
    KeptRows,
    LayerShape,
    RankCurve,
    Role,
)


class Twinroot:
    """Our own method."""

    summary = "two-sided low rank and fewer neurons under input and gradient moments, one budget"
    config = Config

    def needs_mlp_tokens(self, config: Config) -> bool:  # noqa: ARG002
        """Moments suffice."""
        return False

    def rank_curves(
        self, block: BlockWeights, statistics: BlockStatistics, config: Config
    ) -> Sequence[RankCurve[Mapping[Role, int]]]:
        """Discarded eigenvalues, and what removed neurons cost (see ``Ranking.rank_curves``)."""
        gradients = backward_of(statistics).gradients
        curves: dict[Role, RankCurve[Mapping[Role, int]]] = {}
        for role, layer, metric in two_sided_layers(block, statistics, config):
            tokens = counted_tokens(gradients[role])
            if config.neurons == "only":
                ranks = dense_curve(layer.W.shape)
            else:
                losses = tokens * tails(layer.W, layer.output, metric)
                ranks = rank_curve(losses, layer.W.shape, config.junction, config.multiple)
            curves[role] = shared_by(ranks, role)
            if role == "down" and config.neurons:
                lost = tokens * layer.removal(metric, statistics).losses
        if not config.neurons:
            return list(curves.values())
        mlp = mlp_roles(block)
        size = sum(block.layers[role].weight.numel() for role in mlp) // (len(lost) - 1)
        counts = unit_curve(lost, size, config.multiple)
        counts = replace(counts, ranks=tuple(Neurons(count) for count in counts.ranks))
        ranked = sum_curves([curves.pop(role) for role in mlp])
        return [*curves.values(), pointwise_best(ranked, shared_by(counts, *mlp))]

    def compress(
        self, block: BlockWeights, statistics: BlockStatistics, keep: float, config: Config
    ) -> Mapping[Role, CompressedLinear]:
        """The same share of every layer (see ``Compressor.compress``)."""
        ranks = self.uniform_ranks(block, keep, config)
        return self.compress_to(block, statistics, ranks, config)

    def uniform_ranks(self, block: BlockWeights, keep: float, config: Config) -> dict[Role, int]:
        """The largest within ``keep`` of each layer (see ``Compensating.uniform_ranks``)."""
        return uniform_ranks(block, keep, config)

    def shapes(self, block: BlockWeights, keep: float, config: Config) -> Mapping[Role, LayerShape]:
        """What ``compress`` will return (see ``PredictsShapes``)."""
        shapes: dict[Role, LayerShape] = {}
        for role, rank in self.uniform_ranks(block, keep, config).items():
            layer = block.layers[role]
            bias = layer.bias is not None
            written = bias or updates_bias(layer, config.bias_update)
            if stays_dense(layer, rank):
                shapes[role] = dense_shape(layer)
            elif not isinstance(rank, Neurons):
                shapes[role] = joined_shape(layer, keep, config.junction, bias=written)
            elif role == "down":
                shapes[role] = kept_shape(KeptColumns.form, layer, rank, bias=written)
            else:
                shapes[role] = kept_shape(KeptRows.form, layer, rank, bias=bias)
        return shapes

    def compress_to(
        self,
        block: BlockWeights,
        statistics: BlockStatistics,
        ranks: Mapping[Role, int],
        config: Config,
    ) -> Mapping[Role, CompressedLinear]:
        """Two-sided fits of the given ranks (see ``Ranking.compress_to``)."""
        factors: dict[Role, CompressedLinear] = {}
        for role, layer, metric in two_sided_layers(block, statistics, config):
            rank = ranks[role]
            if stays_dense(layer.weights, rank):
                factors[role] = dense(layer.weights)
            elif not isinstance(rank, Neurons):
                factors[role] = layer.factor(metric, rank, config)
            elif role == "down":
                factors |= layer.fewer(metric, block, statistics, rank, config)
        return factors

    def waiting(
        self, block: BlockWeights, ranks: Mapping[Role, int]
    ) -> Mapping[Role, Collection[Role]]:
        """Output and down projections, with the latter its neurons (see ``Compensating``)."""
        return {
            role: mlp_roles(block) if isinstance(ranks[role], Neurons) else (role,)
            for role in WRITING_ROLES
            if not stays_dense(block.layers[role], ranks[role])
        }

    def compensate(
        self,
        role: Role,
        block: BlockWeights,
        statistics: BlockStatistics,
        drift: Drift,
        rank: int,
        config: Config,
    ) -> Mapping[Role, CompressedLinear]:
        """Two-sided fit to the inputs as they are now (see ``Compensating.compensate``)."""
        weights = block.layers[role]
        output = gradient_metric(role, statistics, config)
        whole, halves = drift.whole(), drift.halves
        centred = whole.centred()
        counts = not updates_bias(weights, config.bias_update)
        fitted = whole if counts else centred
        change = confirmed_change(
            halves if counts else [half.centred() for half in halves], fitted, output.root
        )
        share = unconfirmed_share(
            config.shrinkage, backward_of(statistics).confirmed[SITE_OF_ROLE[role]]
        )
        layer = TwoSidedLayer(
            weights,
            weights.weight.double() + change,
            believed(centred.second, whole.input if counts else None, share),
            whole.input,
            whole.missing,
            output,
        )
        metric = root_covariance(layer.C, config.damping)
        if isinstance(rank, Neurons):
            return layer.fewer(metric, block, statistics, rank, config)
        return {role: layer.factor(metric, rank, config)}


plugin = Twinroot()
