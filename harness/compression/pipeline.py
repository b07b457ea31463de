"""Compress a model: statistics to factors to a model that runs in factor form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from transformers import PreTrainedModel

from harness.compression.block_checkpoints import open_checkpoints
from harness.compression.compress_block import Budget, compress_block
from harness.compression.compressor import RankedConfig, Ranking
from harness.compression.drift import NoDrift, open_drift
from harness.compression.foreign_code import foreign_code
from harness.compression.job import CompressionJob
from harness.compression.rank_allocation import fisher_ranks
from harness.compression.sources import NoData, open_source
from harness.errors import UsageError
from harness.families.stack import Block
from harness.layers.factors import stored_bytes
from harness.layers.macs import macs_per_token
from harness.models.language_model import LanguageModel, share_copy
from harness.offload.hooks import is_offloaded
from harness.records.provenance import Origin
from harness.records.record import CompressionFacts, LayerFacts, ModelFacts
from harness.records.spec import Dtype
from harness.statistics.block_statistics import BlockStatistics
from harness.statistics.collect import collect
from harness.support.malloc import return_gaps
from harness.support.progress import Tracker, silent


@torch.no_grad()
def compress_model(
    subject: LanguageModel,
    job: CompressionJob,
    *,
    statistics: list[BlockStatistics] | None = None,
    block_checkpoints: Path | None = None,
    track: Tracker = silent,
) -> LanguageModel:
    """A compressed copy of ``subject``; what is not compressed is shared with it.

    Each block in turn: its statistics, its factors, the factors in its place, the calibration sent
    on. A model whose blocks are on disk (``load_model`` with ``offload``) is compressed in place,
    one block in memory at a time; finished blocks are kept in ``block_checkpoints``, from where
    the result reads them, and after an interruption the same call goes on from there.

    Args:
        subject: the dense model; left untouched unless its blocks are on disk.
        job: what is to be done.
        statistics: already collected from the untouched model in memory, one a block; read only
            where the method ``reads_original``, and then taken out of the list as blocks are done.
        block_checkpoints: folder for finished blocks, only for a model whose blocks are on disk.
        track: progress.

    Raises:
        NonFiniteError: weights or activations hold NaN or infinity; names the layer.
        UsageError: a rank rounds to zero, or model, method and ``block_checkpoints`` do not fit.
        InfrastructureError: a finished block cannot be written.
    """
    _require_suitable(subject, job, block_checkpoints)
    origin = _origin(subject, job)
    model = subject.model if block_checkpoints else share_copy(subject.model)
    blocks = subject.family.blocks(model, job.scope)
    checkpoints = open_checkpoints(
        block_checkpoints, origin.compression_digest, blocks, job.batch_size, model.device
    )
    reads = reads_data(subject, job)
    original = _collected(model, blocks, statistics, job, track) if reads else []
    ranks = _ranks(model, blocks, original, job, track) if reads else [job.keep] * len(blocks)
    source = open_source(model, blocks, original, checkpoints.pending, job) if reads else NoData()
    drift = open_drift(subject, model, job) if reads else NoDrift()
    layers: list[LayerFacts] = []
    budgets = zip(blocks, ranks, strict=True)
    for block, budget in track(budgets, f"compressing with {job.method}", len(blocks)):
        with checkpoints.visit(block) as finished:
            if finished:
                source.skip(block)
                layers += finished.install(block)
            else:
                # No name for the statistics, which would outlive their block.
                facts = compress_block(
                    model, block, source.statistics(block), drift.enter(block), budget, job
                )
                checkpoints.put(block, facts)
                layers += facts
            source.advance(block)
            drift.leave(block)
    return_gaps()
    made = _facts(origin.model, model, job, layers, calibrated=reads)
    return replace(subject, model=model, compression=made, origin=origin)


def reads_data(subject: LanguageModel, job: CompressionJob) -> bool:
    """Whether what ``job`` makes of ``subject`` depends on the calibration."""
    blocks = subject.family.blocks(subject.model, job.scope)
    return job.reads_data(biased=any(block.biased for block in blocks))


def _require_suitable(
    subject: LanguageModel, job: CompressionJob, block_checkpoints: Path | None
) -> None:
    if subject.compression is not None:
        raise UsageError(
            f"{subject.asset.reference} is compressed already; compress the original model"
        )
    if is_offloaded(subject.model) != (block_checkpoints is not None):
        raise UsageError(
            "a model opened with offload needs a folder for block checkpoints, no other model does"
        )
    if block_checkpoints and job.config.reads_gradients:
        raise UsageError(
            "this method differentiates the whole model, of which --offload keeps one block in "
            "memory; leave out --offload, or choose a method or ranks without gradients"
        )
    if not block_checkpoints:
        for block in subject.family.blocks(subject.model, job.scope):
            block.require_finite()


def _origin(subject: LanguageModel, job: CompressionJob) -> Origin:
    return Origin(
        model=subject.facts(),
        method=job.spec,
        ratio=job.ratio,
        scope=job.scope,
        dtype=cast("Dtype", str(subject.model.dtype).removeprefix("torch.")),
        calibration=job.calibration.spec,
        data=job.calibration.facts,
        plugins=foreign_code(job.method, subject.family.model_type),
    )


def _collected(
    model: PreTrainedModel,
    blocks: Sequence[Block],
    statistics: list[BlockStatistics] | None,
    job: CompressionJob,
    track: Tracker,
) -> list[BlockStatistics]:
    """Those of the untouched model, as far as the method reads them."""
    if is_offloaded(model) or not job.config.reads_original:
        return []
    return statistics or collect(
        model,
        blocks,
        job.calibration,
        batch_size=job.batch_size,
        keep_mlp_tokens=job.keeps_mlp_tokens,
        gradients=job.config.reads_gradients,
        track=track,
    )


def _ranks(
    model: PreTrainedModel,
    blocks: Sequence[Block],
    original: Sequence[BlockStatistics],
    job: CompressionJob,
    track: Tracker,
) -> Sequence[Budget]:
    """The ranks of every block, or the share of its parameters that it keeps."""
    if isinstance(job.config, RankedConfig) and job.config.ranks == "fisher":
        assert isinstance(job.compressor, Ranking)
        return fisher_ranks(job.compressor, job.config, model, blocks, original, job.keep, track)
    return [job.keep] * len(blocks)


def _facts(
    dense: ModelFacts,
    model: PreTrainedModel,
    job: CompressionJob,
    layers: list[LayerFacts],
    *,
    calibrated: bool,
) -> CompressionFacts:
    before = sum(layer.shape[0] * layer.shape[1] for layer in layers)
    after = sum(layer.parameters for layer in layers)
    parameters = sum(p.numel() for p in model.parameters())
    return CompressionFacts(
        label=job.label,
        ratio_requested=job.ratio,
        ratio_layers=1 - after / before,
        ratio_model=1 - parameters / dense.parameters,
        parameters=parameters,
        bytes=stored_bytes(model),
        macs=macs_per_token(model),
        layers=tuple(layers),
        calibrated=calibrated,
    )
