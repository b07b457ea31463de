"""From a library's numbers to metrics."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

from harness.plugin import Metric, NonFiniteError, Sample, TaskResult, UsageError
from tasks.eval_libraries.library import Library

NO_FILTER = "none"

MetricFilter = tuple[str, str]
"""A metric, and the filter that answers went through before they were scored."""


@dataclass(frozen=True)
class Report:
    """What a library reports of one task or group.

    Attributes:
        name: of the task or group.
        prefix: what stands before each metric's name.
        protocol: what stands behind it.
        values: numbers by ``metric,filter`` and their standard errors by
            ``metric_stderr,filter``; what is no number is no metric.
        directions: by metric, whether higher is better; None where nobody says.
        counts: how many documents have a value, for the metrics in the order of listing.
    """

    name: str
    prefix: str
    protocol: str
    values: Mapping[str, Any]
    directions: Mapping[str, bool | None]
    counts: Mapping[MetricFilter, int]

    def metrics(self, library: Library) -> Iterator[Metric]:
        """The metrics that can be compared.

        Raises:
            NonFiniteError: a metric is NaN or infinite; names the task.
        """
        for (metric, kept), count in self.counts.items():
            value, direction = self.values.get(f"{metric},{kept}"), self.directions.get(metric)
            if direction is None or not isinstance(value, Real):
                continue
            if not math.isfinite(value):
                raise NonFiniteError(
                    f"{library.label(self.name)}: {metric} is {value}, not a finite number"
                )
            yield Metric(
                name=self.prefix + with_filter(metric, kept) + self.protocol,
                value=float(value),
                stderr=finite_number(self.values.get(f"{metric}_stderr,{kept}")),
                n=count,
                unit="documents",
                higher_is_better=direction,
            )


def task_result(
    library: Library, reports: Sequence[Report], samples: Iterable[Sample], batch_size: int
) -> TaskResult:
    """The metrics of ``reports`` in their order; a value without direction is no metric.

    Raises:
        NonFiniteError: a metric is NaN or infinite; names the task.
        UsageError: there is no metric at all.
    """
    metrics = tuple(metric for report in reports for metric in report.metrics(library))
    if not metrics:
        raise UsageError(
            f"{library.label(reports[0].name)} reports no number of which it says whether higher "
            "is better; set higher_is_better in a task YAML file of your own, or choose another "
            "task"
        )
    return TaskResult(metrics=metrics, samples=tuple(samples), batch_size=batch_size)


def with_filter(metric: str, kept: str) -> str:
    """A metric's name with its filter, where there is one."""
    return metric if kept == NO_FILTER else f"{metric},{kept}"


def finite_number(value: Any) -> float | None:
    """``value`` if it is a finite number; libraries write ``N/A`` for what they leave out."""
    return float(value) if isinstance(value, Real) and math.isfinite(value) else None


def common_direction(directions: Iterable[bool | None]) -> bool | None:
    """Whether higher is better for all that say so; None where they differ or nobody does."""
    known = set(directions) - {None}
    return known.pop() if len(known) == 1 else None


def tasks_below(name: str, groups: Mapping[str, Sequence[str]]) -> list[str]:
    """The tasks in a group and in the groups within it; a task's own name."""
    if name not in groups:
        return [name]
    return [task for member in groups[name] for task in tasks_below(member, groups)]
