"""Compress a model: statistics to factors to a model that runs in factor form."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import cast

import torch
from transformers import PreTrainedModel

from harness.algebra.drift import Drift
from harness.algebra.symmetric import energy
from harness.block import LinearWeights
from harness.compressor import (
    BlockStatistics,
    Compensating,
    Compressor,
    CompressorConfig,
    RankedConfig,
    Ranking,
)
from harness.errors import HarnessError, UsageError
from harness.factors import Dense, Factor, stored_bytes
from harness.families.stack import Block
from harness.heap import return_gaps
from harness.macs import macs_per_token
from harness.model import LanguageModel
from harness.offload.moving import is_offloaded
from harness.offload.staging import Staging, open_staging
from harness.options import label, spelled_out
from harness.origin import Origin
from harness.progress import Tracker, silent
from harness.ranking import fisher_ranks
from harness.record import CompressionFacts, LayerFacts, ModelFacts
from harness.roles import SITE_OF_ROLE, Role
from harness.spec import Dtype, MethodSpec, Scope, require_ratio
from harness.statistics.calibration import Calibration
from harness.statistics.collect import collect
from harness.statistics.drift import TwoStreams
from harness.statistics.flow import BlockFlow
from harness.statistics.folded import unfolded
from harness.statistics.moments import Moments

Look = Callable[[], BlockStatistics]
"""Takes the statistics of a block when its turn has come."""

Drifting = Callable[[Role, LinearWeights], Drift]
"""Looks at what a layer of the block receives now, and lacks."""

Turn = tuple[Block, Look | None]
"""A block, and its statistics unless it is compressed already."""


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
    statistics: list[BlockStatistics] | None = None,
    staging: Path | None = None,
    batch_size: int = 8,
    track: Tracker = silent,
) -> LanguageModel:
    """A compressed copy of ``subject``; what is not compressed is shared with it.

    A model whose blocks are on disk (``load_model`` with ``offload``) is compressed in place, one
    block in memory at a time. Finished blocks are kept in ``staging``, from where the result reads
    them; after an interruption the same call goes on from there to the same result.

    Args:
        subject: the dense model; left untouched unless its blocks are on disk.
        method: registered name of ``compressor``, for the label.
        compressor: the method.
        config: its options.
        ratio: share of the compressed layers' parameters to remove, ``0 <= ratio < 1``.
        calibration: what the statistics are taken over.
        scope: which of the model's linear layers are compressed.
        statistics: already collected from the untouched model in memory, one a block; read only
            where ``reads_original`` says so, and then taken out of the list as blocks are done.
        staging: folder for finished blocks, only for a model whose blocks are on disk.
        batch_size: sequences per forward pass.
        track: progress.

    Raises:
        NonFiniteError: weights or activations hold NaN or infinity; names the layer.
        UsageError: the ratio is outside its range, a rank rounds to zero, the model is compressed
            already or has no layers in ``scope``, the method reads gradients of a model on disk,
            or ``staging`` is missing or something else.
        InfrastructureError: a finished block cannot be written.
    """
    require_ratio(ratio)
    _require_suitable(subject, config, staging)
    dense = subject.facts()
    origin = Origin(
        model=dense,
        method=MethodSpec(name=method, options=spelled_out(config, method)),
        ratio=ratio,
        scope=scope,
        dtype=cast("Dtype", str(subject.model.dtype).removeprefix("torch.")),
        calibration=calibration.spec,
        data=calibration.facts,
    )
    model = subject.model if staging else share_copy(subject.model)
    blocks = subject.family.blocks(model, scope)
    staged = open_staging(staging, origin.recipe, batch_size, model.device) if staging else None
    tokens = compressor.needs_mlp_tokens(config)
    original: list[BlockStatistics] = []
    if staged is None:
        for block in blocks:
            block.require_finite()
        if reads_original(config):
            original = statistics or collect(
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
    if staged is None and config.propagation == "original":
        taken = _drain(original)
        turns: Iterable[Turn] = ((block, partial(next, taken)) for block in blocks)
    else:
        turns = _in_turn(model, blocks, calibration, config, tokens, batch_size, staged)
        if config.reads_gradients:
            turns = (
                (block, look and partial(_with_backward, look, one))
                for (block, look), one in zip(turns, _drain(_backward(original)), strict=True)
            )
    streams = _two_streams(config, subject, model, scope, calibration, batch_size)
    layers: list[LayerFacts] = []
    for (block, look), chosen, drifting in track(
        zip(turns, ranks, streams, strict=True), f"compressing with {method}", len(blocks)
    ):
        if look is None:
            assert staged is not None
            layers += staged.install(block)
            continue
        budget = chosen or 1 - ratio
        facts = _compress_block(block, look(), model, compressor, config, budget, drifting)
        if staged:
            staged.put(block, facts)
        layers += facts
    return_gaps()
    made = _facts(dense, model, label(method, config), ratio, layers)
    return replace(subject, model=model, compression=made, origin=origin)


def reads_original(config: CompressorConfig) -> bool:
    """Whether a method needs statistics of the untouched model."""
    return config.propagation == "original" or config.reads_gradients


def _require_suitable(
    subject: LanguageModel, config: CompressorConfig, staging: Path | None
) -> None:
    if subject.compression is not None:
        raise UsageError(
            f"{subject.asset.reference} is compressed already; compress the original model"
        )
    if is_offloaded(subject.model) != (staging is not None):
        raise UsageError("a model opened with offload needs a staging folder, no other model does")
    if staging and config.reads_gradients:
        raise UsageError(
            "this method differentiates the whole model, of which --offload keeps one block in "
            "memory; leave out --offload, or choose a method or ranks without gradients"
        )


def _compress_block(
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


def _two_streams(
    config: CompressorConfig,
    subject: LanguageModel,
    model: PreTrainedModel,
    scope: Scope,
    calibration: Calibration,
    batch_size: int,
) -> Iterator[Drifting | None]:
    """For each block, what looks at its layers between the dense and the compressed stream."""
    blocks = subject.family.blocks(model, scope)
    if not config.compensates:
        yield from [None] * len(blocks)
        return
    dense = subject.family.blocks(subject.model, scope)
    for run, dense_run in zip(_stacks(blocks), _stacks(dense), strict=True):
        streams = TwoStreams(
            BlockFlow(subject.model, dense_run, calibration, batch_size),
            BlockFlow(model, run, calibration, batch_size),
        )
        for index in range(len(run)):
            streams.enter(index)
            yield partial(streams.look, index)
            streams.leave(index)


def _stacks(blocks: Sequence[Block]) -> list[list[Block]]:
    """The blocks of each stack by themselves."""
    return [list(stack) for _, stack in groupby(blocks, key=lambda block: block.stack.blocks)]


def share_copy(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of the module structure whose tensors are the original's own."""
    tensors = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, memo={id(tensor): tensor for tensor in tensors})


def _drain(statistics: list[BlockStatistics]) -> Iterator[BlockStatistics]:
    """Hand out statistics and forget them, so that memory shrinks as factors grow."""
    statistics.reverse()
    while statistics:
        return_gaps()  # of the block before
        yield unfolded(statistics.pop())


def _in_turn(
    model: PreTrainedModel,
    blocks: Sequence[Block],
    calibration: Calibration,
    config: CompressorConfig,
    keep_mlp_tokens: bool,
    batch_size: int,
    staged: Staging | None,
) -> Iterator[Turn]:
    """Each block when the consumer may compress it, None for statistics if that is done already.

    Under propagation ``original`` hidden states come from the dense blocks, else from what the
    consumer made of them. No block is sent through that nobody waits behind.
    """
    runs = _stacks(blocks)
    flows: Iterable[BlockFlow] = (BlockFlow(model, run, calibration, batch_size) for run in runs)
    dense = config.propagation == "original"
    if dense:
        flows = list(flows)  # before the first tower changes what the next one sees
    for run, flow in zip(runs, flows, strict=True):
        left = [i for i, block in enumerate(run) if staged is None or not staged.holds(block)]
        for index, block in enumerate(run):
            awaited = index < max(left, default=0)
            with staged.visit(block) if staged else nullcontext():
                if index in left:
                    on = dense and awaited
                    yield block, partial(flow.measure, index, keep_mlp_tokens, advance=on)
                else:
                    if dense and awaited:
                        flow.advance(index)
                    yield block, None
                if awaited and not dense:
                    flow.advance(index)


def _backward(original: list[BlockStatistics]) -> list[BlockStatistics]:
    """What the backward pass has seen, without the moments, which are forgotten."""
    kept = [replace(seen, moments={}, mlp_tokens=None) for seen in original]
    original.clear()
    return kept


def _with_backward(look: Look, backward: BlockStatistics) -> BlockStatistics:
    return replace(look(), gradients=backward.gradients, agreement=backward.agreement)


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


def _facts(
    dense: ModelFacts,
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
        ratio_model=1 - parameters / dense.parameters,
        parameters=parameters,
        bytes=stored_bytes(model),
        macs=macs_per_token(model),
        layers=tuple(layers),
    )
