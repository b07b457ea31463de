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

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from harness.algebra.drift import confirmed_change
from harness.algebra.neurons import Neurons, Removal, dependence, refitted, removal
from harness.algebra.preconditioners import root_covariance
from harness.algebra.rank_curves import (
    pointwise_best,
    rank_curve,
    shared_by,
    sum_curves,
    unit_curve,
)
from harness.algebra.ranks import rank_for
from harness.algebra.two_sided import believed, output_metric, tails, two_sided_product
from harness.compression.local import Damping, dense, updated_bias, updates_bias
from harness.layers.shapes import dense_shape, joined_shape, kept_shape
from harness.plugin import (
    SITE_OF_ROLE,
    WRITING_ROLES,
    BackwardStatistics,
    BlockStatistics,
    BlockWeights,
    CompressedLinear,
    Drift,
    Junction,
    KeptColumns,
    KeptRows,
    LayerShape,
    LinearWeights,
    LocalConfig,
    Moments,
    Preconditioner,
    Propagation,
    RankCurve,
    Ranks,
    Role,
    Site,
    UsageError,
    join,
)

Shrinkage = Annotated[float, Field(ge=0, le=1)] | Literal["held-out"]

MLP: tuple[Role, ...] = ("gate", "up", "down")
"""The layers that share the neurons."""


@dataclass(frozen=True, kw_only=True)
class Config(LocalConfig):
    """Options of ``twinroot``.

    Attributes:
        gradient_damping: diagonal added to the gradients' second moment, relative to its mean
            diagonal.
        shrinkage: share of the inputs' correlations that is not believed; held-out: what the
            calibration samples, each held out in turn, do not confirm in one another.
        gradient_shrinkage: share of the gradients' correlations that is not believed; held-out as
            for shrinkage.
        neurons: whether the MLP loses whole neurons; otherwise each of its layers is of low rank.
        compensation: whether output and down projections make up for what earlier compression
            has done to their inputs and to the residual stream.
    """

    junction: Junction = "block-identity"
    propagation: Propagation = "original"
    ranks: Ranks = "fisher"
    gradient_damping: Damping = 0.1
    shrinkage: Shrinkage = "held-out"
    gradient_shrinkage: Shrinkage = "held-out"
    neurons: bool = True
    compensation: bool = True

    @property
    def reads_gradients(self) -> bool:
        """Always."""
        return True

    @property
    def compensates(self) -> bool:
        """As ``compensation`` says."""
        return self.compensation


@dataclass(frozen=True)
class _Layer:
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
        backward, inputs = _backward(statistics), statistics.moments["mlp_inner"].second
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
        found: dict[Role, CompressedLinear] = {"down": KeptColumns(down.weight, kept, len(C), bias)}
        for role in _mlp(block):
            if role != "down":
                layer = block.layers[role]
                rows = None if layer.bias is None else layer.bias[kept]
                found[role] = KeptRows(layer.weight[kept], kept, len(C), rows)
                # Neurons that stay are what they were; what the others leave is charged to down.
                found[role].equivalent = layer
        return found

    def _bias(self, fitted: Tensor, config: Config) -> Tensor | None:
        W = self.weights.weight.double()
        bias = updated_bias(self.weights, W, fitted, self.mean, config.bias_update)
        if bias is None or not updates_bias(self.weights, config.bias_update):
            return bias
        return bias + self.missing


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
        gradients = _backward(statistics).gradients
        curves: dict[Role, RankCurve[Mapping[Role, int]]] = {}
        for role, layer, metric in _layers(block, statistics, config):
            tokens = _tokens(gradients[role])
            losses = tokens * tails(layer.W, layer.output, metric)
            ranks = rank_curve(losses, layer.W.shape, config.junction, config.multiple)
            curves[role] = shared_by(ranks, role)
            if role == "down" and config.neurons:
                lost = tokens * layer.removal(metric, statistics).losses
        if not config.neurons:
            return list(curves.values())
        mlp = _mlp(block)
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
        ranks = {
            role: rank_for(layer.weight.shape, keep, config.junction)
            for role, layer in block.layers.items()
        }
        inner = block.layers["down"].weight.shape[1]
        count = math.floor(keep * inner + 1e-6)
        if not config.neurons or count == inner:
            return ranks
        if count < 1:
            raise UsageError(f"{keep:g} of an MLP are not even one neuron; use a smaller --ratio")
        return ranks | dict.fromkeys(_mlp(block), Neurons(count))

    def shapes(self, block: BlockWeights, keep: float, config: Config) -> Mapping[Role, LayerShape]:
        """What ``compress`` will return (see ``PredictsShapes``)."""
        shapes: dict[Role, LayerShape] = {}
        for role, rank in self.uniform_ranks(block, keep, config).items():
            layer = block.layers[role]
            bias = layer.bias is not None
            written = bias or updates_bias(layer, config.bias_update)
            if _stays(layer, rank):
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
        found: dict[Role, CompressedLinear] = {}
        for role, layer, metric in _layers(block, statistics, config):
            rank = ranks[role]
            if _stays(layer.weights, rank):
                found[role] = dense(layer.weights)
            elif not isinstance(rank, Neurons):
                found[role] = layer.factor(metric, rank, config)
            elif role == "down":
                found |= layer.fewer(metric, block, statistics, rank, config)
        return found

    def waiting(
        self, block: BlockWeights, ranks: Mapping[Role, int]
    ) -> Mapping[Role, Collection[Role]]:
        """Output and down projections, with the latter its neurons (see ``Compensating``)."""
        return {
            role: _mlp(block) if isinstance(ranks[role], Neurons) else (role,)
            for role in WRITING_ROLES
            if not _stays(block.layers[role], ranks[role])
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
        output = _output_metric(role, statistics, config)
        whole, halves = drift.whole(), drift.halves
        centred = whole.centred()
        counts = not updates_bias(weights, config.bias_update)
        fitted = whole if counts else centred
        change = confirmed_change(
            halves if counts else [half.centred() for half in halves], fitted, output.root
        )
        share = _share(config.shrinkage, _backward(statistics).confirmed[SITE_OF_ROLE[role]])
        layer = _Layer(
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


def _layers(
    block: BlockWeights, statistics: BlockStatistics, config: Config
) -> Iterator[tuple[Role, _Layer, Preconditioner]]:
    """Every layer, with the metric of its inputs, which may be shared."""
    confirmed = _backward(statistics).confirmed
    known: dict[tuple[Site, bool], tuple[Tensor, Preconditioner]] = {}
    for role, weights in block.layers.items():
        site = SITE_OF_ROLE[role]
        moments, centred = statistics.moments[site], updates_bias(weights, config.bias_update)
        if (site, centred) not in known:
            share = _share(config.shrinkage, confirmed[site])
            C = believed(moments.covariance(), None if centred else moments.mean, share)
            known[site, centred] = C, root_covariance(C, config.damping)
        C, metric = known[site, centred]
        W, output = weights.weight.double(), _output_metric(role, statistics, config)
        yield role, _Layer(weights, W, C, moments.mean, torch.zeros_like(W[:, 0]), output), metric


def _mlp(block: BlockWeights) -> tuple[Role, ...]:
    return tuple(role for role in MLP if role in block.layers)


def _stays(layer: LinearWeights, rank: int) -> bool:
    """Whether ``rank`` leaves the layer as it is; a number of neurons never does."""
    return rank == min(layer.weight.shape) and not isinstance(rank, Neurons)


def _tokens(gradients: Moments) -> int:
    """How many count; a layer on which no prediction depends is fitted, but nothing is spent."""
    return gradients.count if bool(gradients.second.any()) else 0


def _output_metric(role: Role, statistics: BlockStatistics, config: Config) -> Preconditioner:
    backward = _backward(statistics)
    share = _share(config.gradient_shrinkage, backward.confirmed[role])
    return output_metric(backward.gradients[role].second, share, config.gradient_damping)


def _backward(statistics: BlockStatistics) -> BackwardStatistics:
    assert statistics.backward is not None
    return statistics.backward


def _share(shrinkage: Shrinkage, confirmed: float) -> float:
    return 1 - confirmed if shrinkage == "held-out" else float(shrinkage)
