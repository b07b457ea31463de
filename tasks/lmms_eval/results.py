"""From lmms-eval's results to ours."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from numbers import Real
from statistics import fmean
from typing import Any

from harness.plugin import Sample, TaskResult
from tasks.eval_libraries import results
from tasks.eval_libraries.library import LMMS_EVAL
from tasks.eval_libraries.results import (
    MetricFilter,
    Report,
    common_direction,
    finite_number,
    tasks_below,
    with_filter,
)
from tasks.lmms_eval.loading import leaves
from tasks.lmms_eval.settings import Settings


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
    reports = [_group_report(name, outcome, groups, tables) for name in groups]
    several = len(tables) > 1 or any(True for group in reports for _ in group.metrics(LMMS_EVAL))
    reports += [table.report(f"{table.name}: " if several else "") for table in tables]
    samples = [sample for table in tables for sample in table.samples()]
    return results.task_result(LMMS_EVAL, reports, samples, batch_size)


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

    def report(self, prefix: str) -> Report:
        """All metrics of this task, in its own order, by filter."""
        pairs = [(metric, kept) for metric in self.directions for kept in self.rows]
        errors = {
            f"{metric}_stderr,{kept}": self._stderr(metric, kept)
            for metric, kept in pairs
            if isinstance(self.values.get(f"{metric},{kept}"), Real)
        }
        return Report(
            name=self.name,
            prefix=prefix,
            protocol=self.protocol,
            values=self.values | errors,
            directions=self.directions,
            counts={(metric, kept): self.count(metric, kept) for metric, kept in pairs},
        )

    def count(self, metric: str, kept: str) -> int:
        """How many documents have a value for the metric."""
        return sum(metric in row for row in self.rows.get(kept, ()))

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
                for document, score in self._scores(metric, kept).items():
                    values[document][with_filter(metric, kept)] = score
        for document, named in values.items():
            yield Sample(id=f"{self.name}/{document}", values=named, answer=answers[document])

    def _scores(self, metric: str, kept: str) -> dict[Any, float]:
        """The numbers behind a metric, by document."""
        scores = {}
        for row in self.rows.get(kept, ()):
            value = row.get(metric)
            if isinstance(value, dict):
                value = value.get(self.score_key)
            if isinstance(value, Real):
                scores[row["doc_id"]] = float(value)
        return scores

    def _stderr(self, metric: str, kept: str) -> float | None:
        scores = self._scores(metric, kept)
        kinds = ["stderr"]
        if scores and math.isclose(fmean(scores.values()), self.values[f"{metric},{kept}"]):
            # Right for a mean only; questions of one cluster are not independent.
            kinds = ["stderr_clustered", "stderr", "stderr_clt"]
        errors = (finite_number(self.values.get(f"{metric}_{kind},{kept}")) for kind in kinds)
        return next((error for error in errors if error is not None), None)


def _group_report(
    name: str, outcome: dict[str, Any], groups: Mapping[str, list[str]], tables: list[_Table]
) -> Report:
    members = set(tasks_below(name, groups))
    reports = [table.report("") for table in tables if table.name in members]
    pairs: list[MetricFilter] = list(dict.fromkeys(pair for r in reports for pair in r.counts))
    protocols = {report.protocol for report in reports}
    return Report(
        name=name,
        prefix="" if name == next(iter(groups)) else f"{name}: ",
        protocol=protocols.pop() if len(protocols) == 1 else "",
        values=outcome["results"].get(name, {}),
        directions={
            metric: common_direction(report.directions.get(metric) for report in reports)
            for metric, _ in pairs
        },
        counts={pair: sum(report.counts.get(pair, 0) for report in reports) for pair in pairs},
    )
