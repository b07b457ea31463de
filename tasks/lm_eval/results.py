"""From lm-eval's results to ours."""

from __future__ import annotations

import math
from collections.abc import Iterator
from numbers import Real
from typing import Any

from harness.errors import NonFiniteError, UsageError
from harness.records.results import Metric, Sample, TaskResult

NO_FILTER = "none"


def task_result(outcome: dict[str, Any], batch_size: int) -> TaskResult:
    """Metrics of the groups, outermost first, then of the tasks; samples of the tasks.

    A value whose direction its task does not declare cannot be compared and is no metric.

    Args:
        outcome: what ``lm_eval.evaluate`` returns, with samples.
        batch_size: the batch size it ran with.

    Raises:
        NonFiniteError: a metric or a log-likelihood is NaN or infinite; names the task.
        UsageError: there is no metric at all.
    """
    for task, rows in outcome["samples"].items():
        for row in rows:
            _require_finite(task, row)
    groups = outcome.get("group_subtasks", {})
    # lm-eval lists groups from the outermost inwards.
    names = [*groups, *outcome["configs"]]
    metrics = tuple(metric for name in names for metric in _metrics(outcome, name))
    if not metrics:
        raise UsageError(
            f"lm-eval task '{names[0]}' does not say of any metric whether higher is better; set "
            "higher_is_better in a task YAML file of your own, or choose another task"
        )
    samples = tuple(sample for task in outcome["configs"] for sample in _samples(outcome, task))
    return TaskResult(metrics=metrics, samples=samples, batch_size=batch_size)


def _metrics(outcome: dict[str, Any], name: str) -> Iterator[Metric]:
    values = outcome["results"][name]
    tasks = list(_leaves(outcome, name))
    for key, value in values.items():
        metric, comma, kept = key.partition(",")
        higher_is_better = _direction(outcome, tasks, metric)
        if not comma or metric.endswith("_stderr") or higher_is_better is None:
            continue
        if not isinstance(value, Real) or not math.isfinite(value):
            raise NonFiniteError(
                f"lm-eval task '{name}': {metric} is {value}, not a finite number; pass --dtype "
                "float32, or a smaller --ratio"
            )
        stderr = values.get(f"{metric}_stderr,{kept}")
        yield Metric(
            name=_prefix(outcome, name) + _filtered(metric, kept) + _shots(outcome, tasks),
            value=float(value),
            stderr=float(stderr) if isinstance(stderr, Real) and math.isfinite(stderr) else None,
            n=sum(
                row["filter"] == kept and metric in row["metrics"]
                for task in tasks
                for row in outcome["samples"][task]
            ),
            unit="documents",
            higher_is_better=higher_is_better,
        )


def _samples(outcome: dict[str, Any], task: str) -> Iterator[Sample]:
    documents: dict[int, dict[str, float]] = {}
    rolling = outcome["configs"][task]["output_type"] == "loglikelihood_rolling"
    for row in outcome["samples"][task]:
        values = documents.setdefault(row["doc_id"], {})
        for metric in row["metrics"]:
            name, value = _filtered(metric, row["filter"]), row[metric]
            if isinstance(value, Real):
                values[name] = float(value)
            elif rolling and isinstance(value, tuple):
                values[f"{name}.loglikelihood"], values[f"{name}.weight"] = map(float, value)
    for document, values in documents.items():
        yield Sample(id=f"{task}/{document}", values=values)


def _require_finite(task: str, row: dict[str, Any]) -> None:
    if not all(math.isfinite(number) for number in _numbers(row["resps"])):
        raise NonFiniteError(
            f"lm-eval task '{task}': the log-likelihood of document {row['doc_id']} is not "
            "finite; pass --dtype float32, or a smaller --ratio"
        )


def _numbers(responses: Any) -> Iterator[float]:
    if isinstance(responses, Real):
        yield float(responses)
    elif isinstance(responses, list | tuple):
        for response in responses:
            yield from _numbers(response)


def _leaves(outcome: dict[str, Any], name: str) -> Iterator[str]:
    groups = outcome.get("group_subtasks", {})
    if name not in groups:
        yield name
    for member in groups.get(name, ()):
        yield from _leaves(outcome, member)


def _direction(outcome: dict[str, Any], tasks: list[str], metric: str) -> bool | None:
    directions = {outcome["higher_is_better"].get(task, {}).get(metric) for task in tasks} - {None}
    return directions.pop() if len(directions) == 1 else None


def _prefix(outcome: dict[str, Any], name: str) -> str:
    """Nothing for what was asked for, the name for its parts."""
    groups = list(outcome.get("group_subtasks", {}))
    asked_for = groups or list(outcome["configs"])
    return "" if name == asked_for[0] and (groups or len(asked_for) == 1) else f"{name}: "


def _filtered(metric: str, kept: str) -> str:
    return metric if kept == NO_FILTER else f"{metric},{kept}"


def _shots(outcome: dict[str, Any], tasks: list[str]) -> str:
    if all(outcome["configs"][task]["output_type"] == "loglikelihood_rolling" for task in tasks):
        return ""
    shots = sorted({outcome["n-shot"][task] for task in tasks})
    return f" ({'/'.join(map(str, shots))}-shot)"
