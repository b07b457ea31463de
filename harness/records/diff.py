"""Two records side by side: what changed in the numbers, and why they may differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from harness.records.observations import Unpaired
from harness.records.paired_tests import Paired, compare
from harness.records.record import RunRecord
from harness.records.results import Metric


class Cause(NamedTuple):
    """Something recorded that differs, hence may explain a difference in the numbers.

    ``kind`` is what it belongs to (code, weights, data, ...); values are text, empty where absent.
    """

    kind: str
    what: str
    a: str
    b: str


class MetricChange(NamedTuple):
    """One metric of both records, None where a record lacks it; ``part`` is its slice."""

    metric: str
    part: str | None
    a: float | None
    b: float | None


@dataclass(frozen=True)
class Difference:
    """Record ``b`` seen from record ``a``.

    Attributes:
        a, b: the records.
        changes: metrics whose values differ.
        paired: the headline, compared over the same samples, or why it cannot be.
        causes: all that differs in how the two were made.
    """

    a: RunRecord
    b: RunRecord
    changes: tuple[MetricChange, ...]
    paired: Paired | Unpaired
    causes: tuple[Cause, ...]


@dataclass(frozen=True)
class FolderDifference:
    """Two sets of records: the cells of both, and those of one only."""

    pairs: tuple[Difference, ...]
    only_a: tuple[RunRecord, ...]
    only_b: tuple[RunRecord, ...]

    @property
    def common_causes(self) -> tuple[Cause, ...]:
        """Causes that every pair has."""
        if not self.pairs:
            return ()
        return tuple(
            cause
            for cause in self.pairs[0].causes
            if all(cause in pair.causes for pair in self.pairs)
        )


def difference(a: RunRecord, b: RunRecord) -> Difference:
    """What changed from ``a`` to ``b``.

    Raises:
        NonFiniteError: a sample's value is NaN or infinite.
    """
    missing = [record.run_id for record in (a, b) if record.result is None]
    if a.result is None or b.result is None:
        paired: Paired | Unpaired = Unpaired(f"{' and '.join(missing)} has no result")
    elif a.data.fingerprint != b.data.fingerprint:
        paired = Unpaired("the data differ")
    else:
        paired = compare(a.result, b.result)
    return Difference(a, b, tuple(_changes(a, b)), paired, tuple(causes(a, b)))


def folder_difference(a: Sequence[RunRecord], b: Sequence[RunRecord]) -> FolderDifference:
    """Pairs of records of one cell; of several records of a cell the newest counts."""
    first, second = _newest_by_cell(a), _newest_by_cell(b)
    return FolderDifference(
        pairs=tuple(difference(first[cell], second[cell]) for cell in first if cell in second),
        only_a=tuple(first[cell] for cell in first if cell not in second),
        only_b=tuple(second[cell] for cell in second if cell not in first),
    )


def causes(a: RunRecord, b: RunRecord) -> Iterator[Cause]:
    """Everything recorded about the making of ``a`` and ``b`` that differs, by kind."""
    first, second = _made(a), _made(b)
    for kind in first:
        names = dict.fromkeys([*first[kind], *second[kind]])
        for name in names:
            values = [_text(made[kind].get(name)) for made in (first, second)]
            if values[0] != values[1]:
                yield Cause(kind, name, *values)


def _made(record: RunRecord) -> dict[str, dict[str, Any]]:
    spec, where, calibration = record.spec, record.environment, record.spec.calibration
    done, result = record.compression, record.result
    calibration_options = {} if calibration is None else calibration.model_dump()
    return {
        "code": {
            "harness": where.harness,
            "commit": where.commit,
            "uncommitted": where.dirty,
            **where.plugins,
        },
        "weights": {
            "model": spec.model,
            "fingerprint": record.model.fingerprint,
            "notes": record.model.notes,
            "precision": record.model.precision,
            "image processor": record.model.image_processor,
            "training": record.training.sentence if record.training else None,
            "adapter": record.training.fingerprint if record.training else None,
        },
        "method": {
            "name": spec.method.name,
            **spec.method.options,
            "ratio": spec.ratio,
            "scope": spec.scope,
            "parameters": done.parameters if done else None,
            "ranks": _ranks(record),
        },
        "calibration": {
            **calibration_options,
            "fingerprint": record.calibration.fingerprint if record.calibration else None,
        },
        "data": record.data.model_dump(),
        "protocol": {
            "task": spec.task.name,
            **spec.task.options,
            "limit": spec.task.limit,
            "metric": result.metrics[0].name if result else None,
            "n": result.metrics[0].n if result else None,
            "skipped": len(result.skipped) if result else None,
            "evaluation seed": spec.seed,
        },
        "seen while measured": _cautions(record),
        "precision": {"dtype": spec.dtype, "batch size": result.batch_size if result else None},
        "versions": {"python": where.python, **where.packages},
        "device": {
            "device": where.device,
            "name": where.device_name,
            "threads": where.threads,
            "blocks on disk": where.offloaded or None,
            "platform": where.platform,
        },
        "outcome": {"status": record.status, "error": record.error},
    }


def _cautions(record: RunRecord) -> dict[str, str]:
    """What was seen, by kind; a kind may be both advice and a change of the number."""
    seen: dict[str, str] = {}
    for caution in record.result.cautions if record.result else ():
        before = f"{seen[caution.kind]}; " if caution.kind in seen else ""
        seen[caution.kind] = f"{before}{caution}"
    return seen


def _ranks(record: RunRecord) -> str | None:
    if record.compression is None:
        return None
    layers = record.compression.layers
    return f"{sum(layer.rank for layer in layers)} over {len(layers)} layers"


def _changes(a: RunRecord, b: RunRecord) -> Iterator[MetricChange]:
    first, second = _metrics(a), _metrics(b)
    for key in dict.fromkeys([*first, *second]):
        values = [metrics[key].value if key in metrics else None for metrics in (first, second)]
        if values[0] != values[1]:
            yield MetricChange(*key, *values)


def _metrics(record: RunRecord) -> dict[tuple[str, str | None], Metric]:
    metrics = record.result.metrics if record.result else ()
    return {(metric.name, metric.slice): metric for metric in metrics}


def _newest_by_cell(records: Sequence[RunRecord]) -> dict[str, RunRecord]:
    by_age = sorted(records, key=lambda record: (record.created, record.run_id))
    return {_cell(record): record for record in by_age}


def _cell(record: RunRecord) -> str:
    adapter = record.training.reference if record.training else None
    return json.dumps([record.spec.model_dump(mode="json"), adapter], sort_keys=True)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return "; ".join(map(str, value)) if isinstance(value, tuple) else str(value)
