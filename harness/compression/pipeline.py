"""Compress a model: statistics to factors to a model that runs in factor form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from transformers import PreTrainedModel

from harness.calibration.text import Calibration
from harness.compression.block_checkpoints import open_staging
from harness.compression.compress_block import compress_block
from harness.compression.compressor import Compressor, CompressorConfig, RankedConfig, Ranking
from harness.compression.rank_allocation import fisher_ranks
from harness.compression.sources import drifts, turns
from harness.errors import UsageError
from harness.layers.factors import stored_bytes
from harness.layers.macs import macs_per_token
from harness.layers.roles import Role
from harness.models.language_model import LanguageModel, share_copy
from harness.offload.hooks import is_offloaded
from harness.plugins.options import label, spelled_out
from harness.records.provenance import Origin
from harness.records.record import CompressionFacts, LayerFacts, ModelFacts
from harness.records.spec import Dtype, MethodSpec, Scope, require_ratio
from harness.statistics.block_statistics import BlockStatistics
from harness.statistics.collect import collect
from harness.support.malloc import return_gaps
from harness.support.progress import Tracker, silent


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
    taken = turns(
        model,
        blocks,
        original,
        calibration,
        config,
        keep_mlp_tokens=tokens,
        batch_size=batch_size,
        staged=staged,
    )
    drifting = drifts(config, subject, model, scope, calibration, batch_size)
    layers: list[LayerFacts] = []
    for (block, look), chosen, drift in track(
        zip(taken, ranks, drifting, strict=True), f"compressing with {method}", len(blocks)
    ):
        if look is None:
            assert staged is not None
            layers += staged.install(block)
            continue
        budget = chosen or 1 - ratio
        facts = compress_block(block, look(), model, compressor, config, budget, drift)
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
