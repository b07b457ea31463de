"""What a cell will cost, as far as it is known before it runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch

from harness.checkpoints.untrusted import read_configuration
from harness.compression.compressor import compressors
from harness.families.family import family_of
from harness.layers.roles import SITE_OF_ROLE, Site
from harness.layers.weights import BlockWeights
from harness.plugins.options import configure
from harness.profile.count import Count, Workload, count
from harness.profile.skeleton import saved_forms, skeleton
from harness.records.record import RunRecord
from harness.records.spec import Dtype, RunSpec, Scope
from harness.statistics.observer import MLP_TOKENS

Kind = tuple[object, ...]
ONE_TOKEN = Workload(batch=1, sequence=1)


@dataclass(frozen=True)
class Subject:
    """A model before a cell runs on it; no weight is read.

    Attributes:
        dtype: of its weights.
        count: what it takes as it is stored, for one token that sees one position.
        decoder: weights of the linear layers of the decoder's blocks before any compression.
        compressed: the blocks within a scope.
    """

    dtype: torch.dtype
    count: Count
    decoder: int
    compressed: tuple[BlockWeights, ...]


@dataclass(frozen=True)
class Estimate:
    """A cell's cost.

    Attributes:
        parameters: of the model as it is stored.
        remaining: after compression: the compressed layers scaled by ``1 - ratio``.
        flops: see ``flops_per_token``.
        memory: bytes of the weights, the factors, and the most that statistics can take;
            activations come on top.
    """

    parameters: int
    remaining: int
    flops: int
    memory: int


def subject_in(folder: Path, dtype: Dtype, scope: Scope) -> Subject:
    """The dense or saved model in ``folder``, with what is compressed within ``scope``.

    Raises:
        UsageError: its family is unknown, or has nothing in ``scope``.
    """
    config = read_configuration(folder, str(folder))
    family_of(config)  # a shape alone is priced by ``harness profile``
    bare = skeleton(config, dtype)
    return Subject(
        dtype=bare.model.dtype,
        count=count(bare, saved_forms(bare), ONE_TOKEN),
        decoder=_weights([weights for _, weights in bare.blocks()]),
        compressed=tuple(weights for _, weights in bare.blocks(scope)),
    )


def estimate(subject: Subject, spec: RunSpec) -> Estimate:
    """The cost of the cell ``spec`` on ``subject``."""
    weights = _weights(subject.compressed)
    kept = round((1 - spec.ratio) * weights)
    # The model as it is stays in memory beside the factors.
    factors = kept if spec.calibration else 0
    return Estimate(
        parameters=subject.count.parameters,
        remaining=subject.count.parameters - (weights - kept),
        flops=flops_per_token(subject, spec),
        memory=subject.count.bytes + factors * subject.dtype.itemsize + _statistics(subject, spec),
    )


def flops_per_token(subject: Subject, spec: RunSpec) -> int:
    """Floating-point operations that one token of the decoder costs.

    Counted are the products of ``harness.profile.count``, compressed layers scaled by
    ``1 - ratio``; and attention over the mean of ``(window + 1) / 2`` positions of a causal
    window, whether or not a layer sees all of it. A task without a window leaves attention out,
    since the length of its questions is not known.
    """
    scale = 1 - spec.ratio if spec.scope != "vision" else 1.0
    removed = subject.decoder - round(scale * subject.decoder)
    window = spec.task.options.get("window")
    positions = window + 1 if isinstance(window, int) else 0
    return subject.count.flops - 2 * removed + positions * subject.count.attention_flops // 2


def durations(records: Sequence[RunRecord]) -> dict[Kind, float]:
    """The mean seconds that finished cells took, by what of them is alike."""
    took: dict[Kind, list[float]] = {}
    for record in records:
        if record.status == "complete":
            took.setdefault(kind(record.spec), []).append(sum(record.timings.values()))
    return {alike: fmean(seconds) for alike, seconds in took.items()}


def kind(spec: RunSpec) -> Kind:
    """Model, method and task: cells alike in them are taken to last equally long."""
    task = spec.task
    return spec.model, spec.dtype, spec.method.name, task.name, task.data, task.limit


def _weights(blocks: Sequence[BlockWeights]) -> int:
    return sum(layer.weight.numel() for block in blocks for layer in block.layers.values())


def _statistics(subject: Subject, spec: RunSpec) -> int:
    """Bytes of the statistics: of all blocks at once, or of one at a time."""
    if spec.calibration is None:
        return 0
    method = spec.method.name
    config = configure(compressors.get(method).config, spec.method.options, method)
    length = spec.calibration.length
    samples = spec.calibration.samples + spec.calibration.self_samples
    tokens = min(MLP_TOKENS, samples * length) if length else MLP_TOKENS
    sizes = [
        _moments(widths.values()) + tokens * widths["mlp_input"] * subject.dtype.itemsize
        for widths in map(_widths, subject.compressed)
    ]
    if not config.reads_original:
        return max(sizes)
    return sum(sizes) + (_gradients(subject.compressed) if config.reads_gradients else 0)


def _widths(block: BlockWeights) -> dict[Site, int]:
    """Of each distinct activation that the block's layers read."""
    return {SITE_OF_ROLE[role]: layer.weight.shape[1] for role, layer in block.layers.items()}


def _moments(widths: Iterable[int]) -> int:
    """Bytes of the packed second moment, mean and magnitude of each width, in float64."""
    numbers = sum((width // 2 + 1) * width + 2 * width for width in widths)
    return numbers * torch.float64.itemsize


def _gradients(blocks: Sequence[BlockWeights]) -> int:
    """Bytes of the moments at the outputs of all layers."""
    return sum(
        _moments(layer.weight.shape[0] for layer in block.layers.values()) for block in blocks
    )
