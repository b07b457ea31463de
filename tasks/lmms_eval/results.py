"""From lmms-eval's results to ours."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from numbers import Real
from statistics import fmean
from typing import Any

from harness.errors import NonFiniteError, UsageError
from harness.records.results import Metric, Sample, TaskResult
from tasks.lmms_eval.loading import leaves
from tasks.lmms_eval.settings import Settings

NO_FILTER = "none"


def task_result(
    outcome: dict[str, Any],
    loaded: dict[Any, Any],
    settings: Mapping[str, Settings],
    batch_size: int,
) -> TaskResult:
    """Metrics of the groups, outermost first, then of the tasks; samples of the tasks.

    Within a task its own list decides the order, so its headline comes first. What is no number
    (a file written for a judge, a table) is no metric.

    Args:
        outcome: what ``evaluator.evaluate`` returns, with samples.
        loaded: the tasks it ran.
        settings: how their answers were generated.
        batch_size: the batch size it ran with.

    Raises:
        NonFiniteError: a metric is NaN or infinite; names the task.
        UsageError: there is no metric at all.
    """
    tables = [_Table(task, outcome, settings[task.task_name]) for task in leaves(loaded)]
    groups = {
        name: members for name, members in outcome.get("group_subtasks", {}).items() if members
    }
    metrics = [metric for name in groups for metric in _group(name, outcome, groups, tables)]
    for table in tables:
        metrics += table.metrics(f"{table.name}: " if len(tables) > 1 else "")
    if not metrics:
        raise UsageError(
            f"lmms-eval task '{tables[0].name}' reports no number; choose another task"
        )
    samples = tuple(sample for table in tables for sample in table.samples())
    return TaskResult(metrics=tuple(metrics), samples=samples, batch_size=batch_size)


class _Table:
    """One task's rows, by filter and document."""

    def __init__(self, task: Any, outcome: dict[str, Any], settings: Settings) -> None:
        self.name = str(task.task_name)
        self.values: dict[str, Any] = outcome["results"][self.name]
        self.score_key = task.get_config("score_key")
        self.directions: dict[str, bool | None] = task.higher_is_better()
        limit = f", max_new_tokens={settings.max_new_tokens}" if settings.limit_is_ours else ""
        self.protocol = f" ({task.get_config('num_fewshot')}-shot{limit})"
        rows = outcome["samples"][self.name]
        filters = list(task.instances[0].filtered_resps)
        # lmms-eval writes all rows of one filter, then all of the next, and does not say which.
        each = len(rows) // len(filters)
        self.rows = {
            name: rows[place * each : (place + 1) * each] for place, name in enumerate(filters)
        }

    def scores(self, metric: str, kept: str) -> dict[Any, float]:
        """The numbers behind a metric, by document."""
        found = {}
        for row in self.rows.get(kept, ()):
            value = row.get(metric)
            if isinstance(value, dict):
                value = value.get(self.score_key)
            if isinstance(value, Real):
                found[row["doc_id"]] = float(value)
        return found

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Metrics in the task's own order, by filter."""
        for metric in self.directions:
            for kept in self.rows:
                yield metric, kept

    def count(self, metric: str, kept: str) -> int:
        """How many documents have a value for the metric."""
        return sum(metric in row for row in self.rows.get(kept, ()))

    def metrics(self, prefix: str) -> Iterator[Metric]:
        """All metrics of this task."""
        for metric, kept in self.pairs():
            direction = self.directions[metric]
            value = self.values.get(f"{metric},{kept}")
            if direction is not None and isinstance(value, Real):
                yield Metric(
                    name=prefix + _filtered(metric, kept) + self.protocol,
                    value=_finite(self.name, metric, value),
                    stderr=self._stderr(metric, kept),
                    n=self.count(metric, kept),
                    unit="documents",
                    higher_is_better=direction,
                )

    def samples(self) -> Iterator[Sample]:
        """One row a document."""
        values: dict[Any, dict[str, float]] = {}
        answers: dict[Any, str] = {}
        for kept, rows in self.rows.items():
            for row in rows:
                said = row["resps"][0]
                answers[row["doc_id"]] = said if isinstance(said, str) else str(said[0])
                values.setdefault(row["doc_id"], {})
            for metric in self.directions:
                for document, score in self.scores(metric, kept).items():
                    values[document][_filtered(metric, kept)] = score
        for document, named in values.items():
            yield Sample(id=f"{self.name}/{document}", values=named, answer=answers[document])

    def _stderr(self, metric: str, kept: str) -> float | None:
        scores = self.scores(metric, kept)
        kinds = ["stderr"]
        if scores and math.isclose(fmean(scores.values()), self.values[f"{metric},{kept}"]):
            # Right for a mean only; questions of one cluster are not independent.
            kinds = ["stderr_clustered", "stderr", "stderr_clt"]
        found = (_number(self.values.get(f"{metric}_{kind},{kept}")) for kind in kinds)
        return next((number for number in found if number is not None), None)


def _group(
    name: str, outcome: dict[str, Any], groups: Mapping[str, list[str]], tables: list[_Table]
) -> Iterator[Metric]:
    values = outcome["results"].get(name, {})
    members = [table for table in tables if table.name in set(_leaves(name, groups))]
    prefix = "" if name == next(iter(groups)) else f"{name}: "
    for metric, kept in dict.fromkeys(key for table in members for key in table.pairs()):
        directions = {table.directions.get(metric) for table in members} - {None}
        value = values.get(f"{metric},{kept}")
        if not isinstance(value, Real) or len(directions) != 1:
            continue
        protocols = {table.protocol for table in members}
        yield Metric(
            name=prefix
            + _filtered(metric, kept)
            + (protocols.pop() if len(protocols) == 1 else ""),
            value=_finite(name, metric, value),
            stderr=_number(values.get(f"{metric}_stderr,{kept}")),
            n=sum(table.count(metric, kept) for table in members),
            unit="documents",
            higher_is_better=bool(directions.pop()),
        )


def _leaves(name: str, groups: Mapping[str, list[str]]) -> Iterator[str]:
    if name not in groups:
        yield name
    for member in groups.get(name, ()):
        yield from _leaves(member, groups)


def _filtered(metric: str, kept: str) -> str:
    return metric if kept == NO_FILTER else f"{metric},{kept}"


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, Real) and math.isfinite(value) else None


def _finite(task: str, metric: str, value: Any) -> float:
    if not math.isfinite(value):
        raise NonFiniteError(
            f"lmms-eval task '{task}': {metric} is {value}, not a finite number; pass --dtype "
            "float32, or a smaller --ratio"
        )
    return float(value)
