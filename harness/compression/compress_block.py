"""Factors in the place of one block's layers, and what each of them costs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import torch
from transformers import PreTrainedModel

from harness.algebra.blocked_products import energy
from harness.compression.compressor import Compensating, Compressor, CompressorConfig, Ranking
from harness.compression.sources import Drifting
from harness.errors import HarnessError
from harness.families.stack import Block
from harness.layers.factors import Dense, Factor
from harness.layers.roles import SITE_OF_ROLE, Role
from harness.layers.weights import LinearWeights
from harness.records.record import LayerFacts
from harness.statistics.block_statistics import BlockStatistics
from harness.statistics.moments import Moments


def compress_block(
    block: Block,
    seen: BlockStatistics,
    model: PreTrainedModel,
    compressor: Compressor,
    config: CompressorConfig,
    budget: Mapping[Role, int] | float,
    drifting: Drifting | None,
) -> list[LayerFacts]:
    """Put factors in the place of the block's layers: of given ranks, or within a share."""
    weights = block.weights(model)
    facts: dict[Role, LayerFacts] = {}

    def settle(role: Role, factor: Factor) -> Factor:
        layer, moments = weights.layers[role], seen.moments[SITE_OF_ROLE[role]]
        facts[role] = _layer_facts(block.layer_name(role), layer, factor, moments)
        factor.equivalent = None
        return factor.to(layer.weight.dtype)

    try:
        waiting: Mapping[Role, Collection[Role]] = {}
        if drifting is not None:
            assert isinstance(compressor, Compensating)
            if not isinstance(budget, Mapping):
                budget = compressor.uniform_ranks(weights, budget, config)
            waiting = compressor.waiting(weights, budget)
        later = {role for together in waiting.values() for role in together}
        now = replace(
            weights, layers={r: one for r, one in weights.layers.items() if r not in later}
        )
        if isinstance(budget, Mapping):
            assert isinstance(compressor, Ranking)
            factors = compressor.compress_to(now, seen, budget, config)
        else:
            factors = compressor.compress(now, seen, budget, config)
        installed = {
            role: Dense(layer.weight, layer.bias) if role in later else settle(role, factors[role])
            for role, layer in weights.layers.items()
        }
        block.install(installed)
        for role in waiting:
            assert drifting is not None
            assert isinstance(compressor, Compensating)
            assert isinstance(budget, Mapping)
            drift = drifting(role, weights.layers[role])
            fitted = compressor.compensate(role, weights, seen, drift, budget[role], config)
            installed |= {one: settle(one, factor) for one, factor in fitted.items()}
            block.install(installed)
    except HarnessError as error:
        raise type(error)(f"{block.name}: {error}") from error
    return [facts[role] for role in weights.layers]


def _layer_facts(name: str, layer: LinearWeights, factor: Factor, moments: Moments) -> LayerFacts:
    d_out, d_in = layer.weight.shape
    approximation = factor.equivalent or LinearWeights(factor.dense(), factor.dense_bias())
    return LayerFacts(
        name=name,
        form=factor.form,
        shape=(d_out, d_in),
        rank=factor.rank,
        parameters=factor.weight_parameters(),
        relative_loss=relative_output_error(layer, approximation, moments),
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
