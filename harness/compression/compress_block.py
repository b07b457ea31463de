"""Factors in the place of one block's layers, and what each of them costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from transformers import PreTrainedModel

from harness.algebra.blocked_products import energy
from harness.compression.compressor import Compensating, Ranking
from harness.compression.drift import BlockDrift
from harness.compression.job import CompressionJob
from harness.compression.local import dense
from harness.errors import HarnessError
from harness.families.stack import Block
from harness.layers.factors import CompressedLinear, DenseLinear
from harness.layers.roles import SITE_OF_ROLE, Role
from harness.layers.weights import BlockWeights, LinearWeights
from harness.records.record import LayerFacts
from harness.statistics.block_statistics import BlockStatistics, unit_statistics
from harness.statistics.moments import Moments

Budget = Mapping[Role, int] | float
"""Ranks of all layers, or the share of each layer's parameters that may remain."""


def compress_block(
    model: PreTrainedModel,
    block: Block,
    statistics: BlockStatistics | None,
    drift: BlockDrift | None,
    budget: Budget,
    job: CompressionJob,
) -> list[LayerFacts]:
    """Put factors in the place of the block's layers.

    ``statistics`` are None where the job reads no data.

    Raises:
        HarnessError: as the method raises it; names the block.
    """
    weights = block.weights(model)
    replaced = _Replaced(block, weights, statistics)
    try:
        if not job.ratio:
            replaced.put({role: dense(layer) for role, layer in weights.layers.items()})
        elif statistics is None:
            replaced.put(_factors(weights, unit_statistics(weights), budget, job))
        elif drift is None:
            replaced.put(_factors(weights, statistics, budget, job))
        else:
            _compensate(replaced, drift, budget, job)
    except HarnessError as error:
        raise type(error)(f"{block.name}: {error}") from error
    return [replaced.facts[role] for role in weights.layers]


def _factors(
    weights: BlockWeights, statistics: BlockStatistics, budget: Budget, job: CompressionJob
) -> Mapping[Role, CompressedLinear]:
    if not isinstance(budget, Mapping):
        return job.compressor.compress(weights, statistics, budget, job.config)
    assert isinstance(job.compressor, Ranking)
    return job.compressor.compress_to(weights, statistics, budget, job.config)


def _compensate(
    replaced: _Replaced, drift: BlockDrift, budget: Budget, job: CompressionJob
) -> None:
    """Fit layers that write to the residual stream last, to what really enters them then."""
    compressor, weights, statistics = job.compressor, replaced.weights, replaced.statistics
    assert isinstance(compressor, Compensating)
    assert statistics is not None
    if isinstance(budget, Mapping):
        ranks = budget
    else:
        ranks = compressor.uniform_ranks(weights, budget, job.config)
    waiting = compressor.waiting(weights, ranks)
    later = {role for roles in waiting.values() for role in roles}
    now = {role: layer for role, layer in weights.layers.items() if role not in later}
    replaced.put(_factors(replace(weights, layers=now), statistics, ranks, job))
    for role in waiting:
        measured = drift.measure(role, weights.layers[role])
        replaced.put(
            compressor.compensate(role, weights, statistics, measured, ranks[role], job.config)
        )


@dataclass
class _Replaced:
    """A block whose layers are replaced step by step; those that wait run as they were."""

    block: Block
    weights: BlockWeights
    statistics: BlockStatistics | None
    facts: dict[Role, LayerFacts] = field(default_factory=dict)
    factors: dict[Role, CompressedLinear] = field(default_factory=dict)

    def put(self, factors: Mapping[Role, CompressedLinear]) -> None:
        """Install ``factors``, in the dtype of the layers, and keep their facts."""
        for role, factor in factors.items():
            layer = self.weights.layers[role]
            seen = self.statistics
            moments = seen.moments[SITE_OF_ROLE[role]] if seen else None
            self.facts[role] = _layer_facts(self.block.layer_name(role), layer, factor, moments)
            factor.equivalent = None
            self.factors[role] = factor.to(layer.weight.dtype)
        waiting = {
            role: DenseLinear(layer.weight, layer.bias)
            for role, layer in self.weights.layers.items()
            if role not in self.factors
        }
        self.block.install(self.factors | waiting)


def _layer_facts(
    name: str, layer: LinearWeights, factor: CompressedLinear, moments: Moments | None
) -> LayerFacts:
    d_out, d_in = layer.weight.shape
    approximation = factor.equivalent or LinearWeights(factor.dense(), factor.dense_bias())
    return LayerFacts(
        name=name,
        form=factor.form,
        shape=(d_out, d_in),
        rank=factor.rank,
        parameters=factor.weight_parameters(),
        relative_loss=relative_output_error(layer, approximation, moments) if moments else None,
        interpolation_bound=factor.interpolation_bound(),
    )


def relative_output_error(
    layer: LinearWeights, approximation: LinearWeights, moments: Moments
) -> float:
    """``E ||y - y_hat||^2 / E ||W x||^2`` of one layer, biases included, in float64."""
    W = layer.weight.double()
    E = W - approximation.weight.double()
    C, mu = moments.second, moments.mean
    shift = torch.zeros_like(E[:, 0])
    for bias, sign in ((layer.bias, 1), (approximation.bias, -1)):
        if bias is not None:
            shift = shift + sign * bias.double()
    error = energy(E, C) + 2 * shift @ (E @ mu) + shift @ shift
    whole = energy(W, C)
    # A layer that gives nothing has nothing to lose.
    return float(error / whole) if whole else 0.0
