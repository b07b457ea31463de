"""Which records take part in a comparison, and why the others do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from harness.plugin import Metric, RunRecord, TaskResult
from harness.records.observations import Observations, Unpaired, observe
from harness.records.spec import DENSE
from leaderboards.entry import LANGUAGE, BoardEntry, set_apart
from leaderboards.slices import position
from leaderboards.tables import Unranked


def eligibility(record: RunRecord) -> BoardEntry | Unranked:
    """An entry for the tables, or why ``record`` cannot be compared."""
    result = record.result
    metric, slices = _headline(result.metrics if result else ())
    label = _label(record)
    if obstacle := _obstacle(record, metric):
        return set_apart(record, label, *obstacle)
    assert result is not None
    assert metric is not None
    evidence = _evidence(result, (metric, *slices))
    if isinstance(evidence, Unpaired):
        return set_apart(record, label, "not what its samples give", evidence.reason)
    return BoardEntry(without_bulk(record), metric, slices, label, evidence)


def _obstacle(record: RunRecord, metric: Metric | None) -> tuple[str, str] | None:
    """Cause and reason why ``record`` cannot be compared, whatever its samples are."""
    spec, result = record.spec, record.result
    incomplete = record.status == "incomplete" or bool(result and result.skipped)
    unexplained = record.compression is None and spec.method.name != DENSE
    obstacles = (
        (record.status == "failed", "failed", f"failed: {record.error or 'no reason given'}"),
        (
            record.training is not None,
            "trained after compression",
            f"not training-free: {record.training.sentence}" if record.training else "",
        ),
        (spec.task.limit is not None, "limited", f"limited to {spec.task.limit}"),
        (incomplete, "incomplete", _incomplete(result, metric)),
        (metric is None, "without result", "no result"),
        (
            record.environment.dirty,
            "with uncommitted code",
            "measured with uncommitted changes in the code",
        ),
        (unexplained, "unexplained", "does not say how it was compressed"),
    )
    return next(((cause, reason) for holds, cause, reason in obstacles if holds), None)


def _evidence(
    result: TaskResult, metrics: Sequence[Metric]
) -> dict[str | None, Observations] | Unpaired:
    """What each of ``metrics`` is taken over, by slice, or why a value does not follow from it.

    Samples of earlier versions do not say to which slices they belong: those slices have none.
    """
    sliced = any(sample.slices for sample in result.samples)
    evidence: dict[str | None, Observations] = {}
    for metric in metrics:
        if metric.slice is None or sliced:
            observations = observe(result, metric)
            if isinstance(observations, Unpaired):
                return observations
            evidence[metric.slice] = replace(observations, ids=_shared(observations.ids))
    return evidence


@lru_cache(maxsize=256)
def _shared(ids: tuple[str, ...]) -> tuple[str, ...]:
    """One tuple for all records on the same samples: thousands would fill the memory."""
    return ids


def _headline(metrics: Sequence[Metric]) -> tuple[Metric | None, tuple[Metric, ...]]:
    """The first metric of the whole, and the same metric of each slice."""
    whole = next((metric for metric in metrics if metric.slice is None), None)
    if whole is None:
        return None, ()
    parts = {
        metric.slice: metric
        for metric in metrics
        if metric.slice is not None and metric.name == whole.name
    }
    return whole, tuple(parts[name] for name in sorted(parts, key=position))


def _label(record: RunRecord) -> str:
    """The method with what it does differently from its default, the scope included."""
    spec, facts = record.spec, record.compression
    label = facts.label if facts else spec.method.name
    plain = spec.method.name == DENSE or spec.scope == LANGUAGE
    return label if plain else f"{label} ({spec.scope})"


def _incomplete(result: TaskResult | None, metric: Metric | None) -> str:
    if result is None or not result.skipped:
        return "incomplete"
    skipped = len(result.skipped)
    if metric is None:
        return f"{skipped:,} skipped, nothing left"
    return f"{skipped:,} of {metric.n + skipped:,} {metric.unit} skipped"


def without_bulk(record: RunRecord) -> RunRecord:
    """No table shows samples or layers, and thousands of records would not fit with them."""
    result = record.result and record.result.model_copy(update={"samples": ()})
    compression = record.compression and record.compression.model_copy(update={"layers": ()})
    return record.model_copy(update={"result": result, "compression": compression})
