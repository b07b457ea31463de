"""Which records take part in a comparison, and why the others do not."""

from __future__ import annotations

from collections.abc import Sequence

from harness.plugin import Metric, RunRecord, TaskResult
from harness.records.spec import DENSE
from leaderboards.entry import LANGUAGE, BoardEntry
from leaderboards.slices import position
from leaderboards.tables import Unranked


def eligibility(record: RunRecord) -> BoardEntry | Unranked:
    """An entry for the tables, or why ``record`` cannot be compared."""
    spec = record.spec
    metric, slices = _headline(record.result.metrics if record.result else ())
    label = _label(record)
    if record.status == "failed":
        reason = f"failed: {record.error or 'no reason given'}"
    elif spec.task.limit is not None:
        reason = f"limited to {spec.task.limit}"
    elif record.status == "incomplete" or (record.result and record.result.skipped):
        reason = _incomplete(record.result, metric)
    elif metric is None:
        reason = "no result"
    elif record.environment.dirty:
        reason = "measured with uncommitted changes in the code"
    elif record.compression is None and spec.method.name != DENSE:
        reason = "does not say how it was compressed"
    else:
        return BoardEntry(without_bulk(record), metric, slices, label)
    return Unranked(spec.model, label, spec.ratio, spec.task.name, record.run_id, reason)


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
