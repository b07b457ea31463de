"""What a cell will cost, as far as it is known before it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from harness.record import RunRecord
from harness.spec import RunSpec
from harness.statistics.observer import MLP_TOKENS
from harness.sweep.shape import BlockShape, Shape

BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Estimate:
    """A cell's cost.

    Attributes:
        parameters: of the dense model.
        remaining: after compression: the compressed layers scaled by ``1 - ratio``.
        flops: see ``flops_per_token``.
        memory: bytes of the weights, the factors, and the most that statistics can take;
            activations come on top.
    """

    parameters: int
    remaining: int
    flops: int
    memory: int


def estimate(shape: Shape, spec: RunSpec) -> Estimate:
    """The cost of the cell ``spec`` on a model of ``shape``."""
    kept = _kept(shape, spec.ratio)
    removed = sum(block.weights for block in shape.compressed) - kept
    # The dense model stays in memory beside the factors.
    factors = kept if spec.calibration else 0
    return Estimate(
        parameters=shape.parameters,
        remaining=shape.parameters - removed,
        flops=flops_per_token(shape, spec),
        memory=(shape.parameters + factors) * BYTES[spec.dtype] + _statistics(shape, spec),
    )


def flops_per_token(shape: Shape, spec: RunSpec) -> int:
    """Floating-point operations that one token of the decoder costs.

    Counted are two for each weight of the linear layers of the decoder's blocks and of the output
    head, the compressed ones scaled by ``1 - ratio``; and attention: per layer and position seen,
    two for each query channel for the scores and two for the values, over the mean of
    ``(window + 1) / 2`` positions of a causal window, whether or not a layer sees all of it. A
    task without a window leaves attention out, since the length of its questions is not known.
    Norms, activations, softmax, embeddings (with their projections) and the vision tower are not
    counted.
    """
    scale = 1 - spec.ratio if spec.scope != "vision" else 1.0
    layers = round(scale * sum(block.weights for block in shape.decoder))
    window = spec.task.options.get("window")
    seen = window + 1 if isinstance(window, int) else 0
    attention = 2 * seen * sum(block.attention for block in shape.decoder)
    return 2 * (layers + shape.head) + attention


def expected_seconds(spec: RunSpec, records: Sequence[RunRecord]) -> float | None:
    """The mean that finished records of the same model, method and task took; None without any."""
    took = [
        sum(record.timings.values())
        for record in records
        if record.status == "complete" and _kind(record.spec) == _kind(spec)
    ]
    return fmean(took) if took else None


def _kind(spec: RunSpec) -> tuple[object, ...]:
    task = spec.task
    return spec.model, spec.dtype, spec.method.name, task.name, task.data, task.limit


def _kept(shape: Shape, ratio: float) -> int:
    return round((1 - ratio) * sum(block.weights for block in shape.compressed))


def _statistics(shape: Shape, spec: RunSpec) -> int:
    """Bytes of the statistics: of all blocks at once, or of one at a time."""
    if spec.calibration is None:
        return 0
    length = spec.calibration.length
    tokens = min(MLP_TOKENS, spec.calibration.samples * length) if length else MLP_TOKENS
    sizes = [
        _moments(block) + tokens * block.mlp_width * BYTES[spec.dtype] for block in shape.compressed
    ]
    if spec.method.options.get("propagation") != "original":
        return max(sizes)
    return sum(sizes)


def _moments(block: BlockShape) -> int:
    """Bytes of the second moment, mean and magnitude of each activation, in float64."""
    return sum(width * width + 2 * width for width in block.sites) * BYTES["float64"]
