"""Compress a model: statistics to factors to a model that runs in factor form."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from typing import cast

import torch
from transformers import PreTrainedModel

from harness.block import LinearWeights
from harness.compressor import (
    BlockStatistics,
    Compressor,
    CompressorConfig,
    RankedConfig,
    Ranking,
)
from harness.errors import HarnessError, UsageError
from harness.factors import Factor, stored_bytes
from harness.families.stack import Block
from harness.macs import macs_per_token
from harness.model import LanguageModel
from harness.options import label, spelled_out
from harness.origin import Origin
from harness.progress import Tracker, silent
from harness.ranking import fisher_ranks
from harness.record import CompressionFacts, LayerFacts
from harness.roles import SITE_OF_ROLE, Role
from harness.spec import Dtype, MethodSpec, Scope, require_ratio
from harness.statistics.calibration import Calibration
from harness.statistics.collect import collect
from harness.statistics.flow import BlockFlow
from harness.statistics.moments import Moments


@torch.no_grad()
def compress_model(
    subject: LanguageModel,
    method: str,
    compressor: Compressor,
    config: CompressorConfig,
    ratio: float,
    calibration: Calibration,
    *,
    scope: Scope = "language",
    statistics: Sequence[BlockStatistics] | None = None,
    batch_size: int = 8,
    track: Tracker = silent,
) -> LanguageModel:
    """A compressed copy of ``subject``; what is not compressed is shared with it.

    Args:
        subject: the dense model; left untouched.
        method: registered name of ``compressor``, for the label.
        compressor: the method.
        config: its options.
        ratio: share of the compressed layers' parameters to remove, ``0 <= ratio < 1``.
        calibration: what the statistics are taken over.
        scope: which of the model's linear layers are compressed.
        statistics: already collected from the untouched model, one a block; read only where
            ``reads_original`` says so.
        batch_size: sequences per forward pass.
        track: progress.

    Raises:
        NonFiniteError: weights or activations hold NaN or infinity; names the layer.
        UsageError: the ratio is outside its range, a rank rounds to zero, the model is compressed
            already or has no layers in ``scope``.
    """
    require_ratio(ratio)
    if subject.compression is not None:
        raise UsageError(
            f"{subject.asset.reference} is compressed already; compress the original model"
        )
    model = share_copy(subject.model)
    blocks = subject.family.blocks(model, scope)
    for block in blocks:
        block.require_finite()
    tokens = compressor.needs_mlp_tokens(config)
    original = list(statistics or ())
    if statistics is None and reads_original(config):
        original = collect(
            model,
            blocks,
            calibration,
            batch_size=batch_size,
            keep_mlp_tokens=tokens,
            gradients=config.reads_gradients,
            track=track,
        )
    ranks: Sequence[Mapping[Role, int] | None] = [None] * len(blocks)
    if isinstance(config, RankedConfig) and config.ranks == "fisher":
        assert isinstance(compressor, Ranking)
        ranks = fisher_ranks(compressor, config, model, blocks, original, 1 - ratio, track)
    if config.propagation == "sequential":
        backward = [(seen.gradients, seen.agreement) for seen in original]
        original.clear()
        stream = _sequential(model, blocks, calibration, tokens, batch_size)
        if config.reads_gradients:
            stream = (
                replace(seen, gradients=gradients, agreement=agreement)
                for seen, (gradients, agreement) in zip(stream, backward, strict=True)
            )
    else:
        stream = _drain(original)
    layers: list[LayerFacts] = []
    for block, seen, chosen in track(
        zip(blocks, stream, ranks, strict=True), f"compressing with {method}", len(blocks)
    ):
        weights = block.weights(model)
        with _block_named(block):
            if chosen is None:
                factors = compressor.compress(weights, seen, 1 - ratio, config)
            else:
                assert isinstance(compressor, Ranking)
                factors = compressor.compress_to(weights, seen, chosen, config)
        for role, layer in weights.layers.items():
            moments = seen.moments[SITE_OF_ROLE[role]]
            layers.append(_layer_facts(block.layer_name(role), layer, factors[role], moments))
            factors[role].equivalent = None
            factors[role].to(layer.weight.dtype)
        block.install(factors)
    facts = _facts(subject.model, model, label(method, config), ratio, layers)
    origin = Origin(
        model=subject.facts(),
        method=MethodSpec(name=method, options=spelled_out(config, method)),
        ratio=ratio,
        scope=scope,
        dtype=cast("Dtype", str(subject.model.dtype).removeprefix("torch.")),
        calibration=calibration.spec,
        data=calibration.facts,
    )
    return replace(subject, model=model, compression=facts, origin=origin)


@contextmanager
def _block_named(block: Block) -> Iterator[None]:
    try:
        yield
    except HarnessError as error:
        raise type(error)(f"{block.name}: {error}") from error


def reads_original(config: CompressorConfig) -> bool:
    """Whether a method needs statistics of the untouched model."""
    return config.propagation == "original" or config.reads_gradients


def share_copy(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of the module structure whose tensors are the original's own."""
    tensors = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, memo={id(tensor): tensor for tensor in tensors})


def _drain(statistics: list[BlockStatistics]) -> Iterator[BlockStatistics]:
    """Hand out statistics and forget them, so that memory shrinks as factors grow."""
    statistics.reverse()
    while statistics:
        yield statistics.pop()


def _sequential(
    model: PreTrainedModel,
    blocks: Sequence[Block],
    calibration: Calibration,
    keep_mlp_tokens: bool,
    batch_size: int,
) -> Iterator[BlockStatistics]:
    """Statistics of each block behind the blocks that the consumer has compressed by then."""
    for _, stack in groupby(blocks, key=lambda block: block.stack.blocks):
        run = list(stack)
        flow = BlockFlow(model, run, calibration, batch_size)
        for index in range(len(run)):
            yield flow.measure(index, keep_mlp_tokens)
            flow.advance(index)


def _layer_facts(name: str, layer: LinearWeights, factor: Factor, moments: Moments) -> LayerFacts:
    d_out, d_in = layer.weight.shape
    approximation = factor.equivalent or LinearWeights(factor.dense(), factor.bias)
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
    error = ((E @ C) * E).sum() + 2 * shift @ (E @ mu) + shift @ shift
    energy = ((W @ C) * W).sum()
    # A layer that gives nothing has nothing to lose.
    return float(error / energy) if energy else 0.0


def _facts(
    dense: PreTrainedModel,
    model: PreTrainedModel,
    method_label: str,
    ratio: float,
    layers: list[LayerFacts],
) -> CompressionFacts:
    before = sum(layer.shape[0] * layer.shape[1] for layer in layers)
    after = sum(layer.parameters for layer in layers)
    parameters = sum(p.numel() for p in model.parameters())
    return CompressionFacts(
        label=method_label,
        ratio_requested=ratio,
        ratio_layers=1 - after / before,
        ratio_model=1 - parameters / sum(p.numel() for p in dense.parameters()),
        parameters=parameters,
        bytes=stored_bytes(model),
        macs=macs_per_token(model),
        layers=tuple(layers),
    )
