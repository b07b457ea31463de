"""The rows of a profile: a model dense and compressed, counted and, if asked, measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PretrainedConfig

from harness.compression.compressor import Compressor
from harness.errors import UsageError
from harness.plugins.options import label
from harness.profile.count import Count, Workload, count, removed_share
from harness.profile.known import configuration
from harness.profile.measure import Measured, Setting, fits, measure
from harness.profile.skeleton import LayerShapes, Skeleton, saved_forms, shapes_of, skeleton
from harness.profile.table2 import METHOD, MODEL, WORKLOAD, Counted, as_table2
from harness.records.spec import DENSE, Dtype, Scope
from harness.support.out_of_memory import out_of_memory
from harness.support.progress import Tracker, silent

AS_SAVED = "as saved"
DOES_NOT_FIT = "does not fit"
SEQUENCE = 2048
"""Tokens of a sequence unless asked otherwise, or as many as the model has positions."""


@dataclass(frozen=True)
class ProfileRequest:
    """What to profile.

    Attributes:
        model: its reference.
        methods: by registered name, each with its options.
        ratios: shares of parameters to remove.
        batch: sequences.
        sequence: tokens of each, None for ``SEQUENCE``.
        scope: which linear layers are compressed.
        dtype: of weights and cache.
        setting: how to measure, None to count only.
    """

    model: str
    methods: Mapping[str, tuple[Compressor[Any], Any]]
    ratios: Sequence[float]
    batch: int = 4
    sequence: int | None = None
    scope: Scope = "language"
    dtype: Dtype = "bfloat16"
    setting: Setting | None = None


@dataclass(frozen=True)
class Row:
    """What one variant of the model costs.

    Attributes:
        method: its label, ``dense`` for the uncompressed model, ``as saved`` for the one in a
            folder of a saved model.
        ratio: share of parameters removed.
        count: from shapes.
        measured: by running it, or why it was not run; None if not asked for.
        table2: counted the way the paper's Table 2 is; None for what is not in it.
    """

    method: str
    ratio: float
    count: Count
    measured: Measured | str | None
    table2: Counted | None


@dataclass(frozen=True)
class Profile:
    """A model's rows over one workload."""

    model: str
    dtype: Dtype
    workload: Workload
    rows: tuple[Row, ...]


def profile(request: ProfileRequest, track: Tracker = silent) -> Profile:
    """Cost of the dense model, of a saved one as it is, then of each method at each ratio.

    Raises:
        UsageError: there is no such model, sequences are longer than it has positions, a method
            does not tell its ranks from shapes, a rank rounds to zero, or the model cannot be
            measured.
        AssetError: the model's configuration cannot be had.
    """
    config = configuration(request.model)
    subject = skeleton(config, request.dtype)
    workload = Workload(request.batch, _length(request, subject))
    variants = _variants(request, subject)
    rows = []
    for title, ratio, shapes in track(variants, "profiling", len(variants)):
        counted = count(subject, shapes, workload)
        listed = request.model == MODEL and workload == WORKLOAD and title in (DENSE, METHOD)
        rows.append(
            Row(
                method=title,
                ratio=ratio,
                count=counted,
                measured=_measured(request, config, subject, shapes, counted, workload),
                table2=as_table2(subject, ratio) if listed else None,
            )
        )
    return Profile(request.model, request.dtype, workload, tuple(rows))


def _length(request: ProfileRequest, subject: Skeleton) -> int:
    longest = subject.positions
    if request.sequence is None:
        return min(SEQUENCE, longest or SEQUENCE)
    if longest is not None and request.sequence > longest:
        raise UsageError(
            f"{request.model} has {longest} positions; pass --sequence {longest} or less"
        )
    return request.sequence


def _variants(request: ProfileRequest, subject: Skeleton) -> list[tuple[str, float, LayerShapes]]:
    variants: list[tuple[str, float, LayerShapes]] = [(DENSE, 0.0, {})]
    if stored := saved_forms(subject):
        variants.append((AS_SAVED, removed_share(stored), stored))
    for name, (compressor, options) in request.methods.items():
        for ratio in request.ratios:
            shapes = shapes_of(subject, name, compressor, options, ratio, request.scope)
            variants.append((label(name, options), ratio, shapes))
    return variants


def _measured(
    request: ProfileRequest,
    config: PretrainedConfig,
    subject: Skeleton,
    shapes: LayerShapes,
    counted: Count,
    workload: Workload,
) -> Measured | str | None:
    if request.setting is None:
        return None
    if not fits(counted, subject, workload, request.setting.device):
        return DOES_NOT_FIT
    try:
        return measure(config, shapes, workload, request.dtype, request.setting)
    except (RuntimeError, MemoryError) as error:
        if out_of_memory(error):
            return DOES_NOT_FIT
        raise
