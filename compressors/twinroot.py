"""Twinroot: every layer between the roots of two moments, all ranks from one budget.

What a layer's error costs the model depends on what enters the layer and on how the loss answers
to what leaves it. Each layer is the best low-rank fit under both (see
``harness.algebra.two_sided``), and what the fits leave out estimates the loss in one unit for all
layers, by which one budget is shared among them. The layers that write to the residual stream are
then fitted once more, to bring the stream back to the dense one (see ``harness.algebra.drift``).
Training-free: gradients are statistics.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from compressors.local import LocalConfig, dense, updated_bias, updates_bias
from harness.algebra.drift import Drift, confirmed_change
from harness.algebra.junction import join
from harness.algebra.preconditioners import Preconditioner, root_covariance
from harness.algebra.ranks import Junction, rank_for
from harness.algebra.two_sided import input_metric, output_metric, tails, two_sided_product
from harness.block import BlockWeights, LinearWeights
from harness.compressor import BlockStatistics, Propagation, Ranks
from harness.factors import Factor
from harness.forms import Form, dense_form, joined_form
from harness.roles import SITE_OF_ROLE, Role, Site

Shrinkage = float | Literal["held-out"]


@dataclass(frozen=True, kw_only=True)
class Config(LocalConfig):
    """Options of ``twinroot``.

    Attributes:
        gradient_damping: diagonal added to the gradients' moment, relative to its mean diagonal.
        shrinkage: share of the inputs' correlations that is not believed; held-out: what the
            calibration samples, each held out in turn, do not confirm in one another.
        gradient_shrinkage: likewise of the gradients' correlations.
        compensation: whether output and down projections make up for what earlier compression
            has done to their inputs and to the residual stream.
    """

    junction: Junction = "block-identity"
    propagation: Propagation = "original"
    ranks: Ranks = "fisher"
    gradient_damping: float = 0.1
    shrinkage: Shrinkage = "held-out"
    gradient_shrinkage: Shrinkage = "held-out"
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
    """One layer between its two metrics; the loss is the sum over ``tokens``."""

    weights: LinearWeights
    W: Tensor
    mean: Tensor
    output: Preconditioner
    metric: Preconditioner
    tokens: int

    def factor(self, rank: int, config: Config) -> Factor:
        if rank == min(self.W.shape):
            return dense(self.weights)
        product = two_sided_product(self.W, self.output, self.metric, rank)
        bias = updated_bias(self.weights, self.W, product.dense(), self.mean, config.bias_update)
        return join(product, self.metric, config.junction, bias)


class Twinroot:
    """Our own method."""

    summary = "two-sided low rank under input and gradient moments, ranks from one budget"
    config = Config

    def needs_mlp_tokens(self, config: Config) -> bool:  # noqa: ARG002
        """Moments suffice."""
        return False

    def losses(
        self, block: BlockWeights, statistics: BlockStatistics, config: Config
    ) -> Mapping[Role, Tensor]:
        """Discarded eigenvalues (see ``Ranking.losses``)."""
        return {
            role: layer.tokens * tails(layer.W, layer.output, layer.metric)
            for role, layer in _layers(block, statistics, config)
        }

    def compress(
        self, block: BlockWeights, statistics: BlockStatistics, keep: float, config: Config
    ) -> Mapping[Role, Factor]:
        """The same share of every layer (see ``Compressor.compress``)."""
        ranks = {
            role: rank_for(layer.weight.shape, keep, config.junction)
            for role, layer in block.layers.items()
        }
        return self.compress_to(block, statistics, ranks, config)

    def forms(self, block: BlockWeights, keep: float, config: Config) -> Mapping[Role, Form]:
        """What ``compress`` will return (see ``Foreseeable``)."""
        forms: dict[Role, Form] = {}
        for role, layer in block.layers.items():
            shape, bias = layer.weight.shape, updates_bias(layer, config.bias_update)
            full = rank_for(shape, keep, config.junction) == min(shape)
            forms[role] = (
                dense_form(layer)
                if full
                else joined_form(layer, keep, config.junction, bias=bias or layer.bias is not None)
            )
        return forms

    def compress_to(
        self,
        block: BlockWeights,
        statistics: BlockStatistics,
        ranks: Mapping[Role, int],
        config: Config,
    ) -> Mapping[Role, Factor]:
        """Two-sided fits of the given ranks (see ``Ranking.compress_to``)."""
        return {
            role: layer.factor(ranks[role], config)
            for role, layer in _layers(block, statistics, config)
        }

    def compensate(
        self,
        role: Role,
        layer: LinearWeights,
        statistics: BlockStatistics,
        drift: Drift,
        rank: int,
        config: Config,
    ) -> Factor:
        """Two-sided fit to the inputs as they are now (see ``Compensating.compensate``)."""
        output = _output_metric(role, statistics, config)
        whole = drift.whole()
        halves, fitted = drift.halves, whole
        centred = updates_bias(layer, config.bias_update)
        if centred:
            halves, fitted = [half.centred() for half in halves], whole.centred()
        W = layer.weight.double()
        metric = root_covariance(fitted.second, config.damping)
        changed = W + confirmed_change(halves, fitted, output.metric)
        product = two_sided_product(changed, output, metric, rank)
        bias = updated_bias(layer, W, product.dense(), whole.input, config.bias_update)
        if bias is not None and centred:
            bias = bias + whole.missing
        return join(product, metric, config.junction, bias)


plugin = Twinroot()


def _layers(
    block: BlockWeights, statistics: BlockStatistics, config: Config
) -> Iterator[tuple[Role, _Layer]]:
    assert statistics.gradients is not None
    assert statistics.agreement is not None
    known: dict[tuple[Site, bool], Preconditioner] = {}
    for role, weights in block.layers.items():
        site = SITE_OF_ROLE[role]
        moments, gradients = statistics.moments[site], statistics.gradients[role]
        centred = updates_bias(weights, config.bias_update)
        if (site, centred) not in known:
            known[site, centred] = input_metric(
                moments.covariance(),
                None if centred else moments.mean,
                _share(config.shrinkage, statistics.agreement[site]),
                config.damping,
            )
        yield (
            role,
            _Layer(
                weights,
                weights.weight.double(),
                moments.mean,
                _output_metric(role, statistics, config),
                known[site, centred],
                # A layer that the loss does not depend on is fitted, but nothing is spent on it.
                gradients.count if bool(gradients.second.any()) else 0,
            ),
        )


def _output_metric(role: Role, statistics: BlockStatistics, config: Config) -> Preconditioner:
    assert statistics.gradients is not None
    assert statistics.agreement is not None
    share = _share(config.gradient_shrinkage, statistics.agreement[role])
    return output_metric(statistics.gradients[role].second, share, config.gradient_damping)


def _share(shrinkage: Shrinkage, agreement: float) -> float:
    return 1 - agreement if shrinkage == "held-out" else float(shrinkage)
