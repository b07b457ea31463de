"""From lm-eval's results to ours."""

from __future__ import annotations

import math
from collections.abc import Iterator
from numbers import Real
from typing import Any

from harness.plugin import NonFiniteError, Sample, TaskResult
from tasks.eval_libraries import results
from tasks.eval_libraries.library import LM_EVAL
from tasks.eval_libraries.results import Report, common_direction, tasks_below, with_filter


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
    # lm-eval lists groups from the outermost inwards.
    names = [*outcome.get("group_subtasks", {}), *outcome["configs"]]
    reports = [_report(outcome, name) for name in names]
    samples = [sample for task in outcome["configs"] for sample in _samples(outcome, task)]
    return results.task_result(LM_EVAL, reports, samples, batch_size)


def _report(outcome: dict[str, Any], name: str) -> Report:
    values = outcome["results"][name]
    tasks = tasks_below(name, outcome.get("group_subtasks", {}))
    keys = [key.partition(",") for key in values]
    pairs = [
        (metric, kept) for metric, comma, kept in keys if comma and not metric.endswith("_stderr")
    ]
    declared = outcome["higher_is_better"]
    return Report(
        name=name,
        prefix=_prefix(outcome, name),
        protocol=_shots(outcome, tasks),
        values=values,
        directions={
            metric: common_direction(declared.get(task, {}).get(metric) for task in tasks)
            for metric, _ in pairs
        },
        counts={(metric, kept): _count(outcome, tasks, metric, kept) for metric, kept in pairs},
    )


def _count(outcome: dict[str, Any], tasks: list[str], metric: str, kept: str) -> int:
    return sum(
        row["filter"] == kept and metric in row["metrics"]
        for task in tasks
        for row in outcome["samples"][task]
    )


def _samples(outcome: dict[str, Any], task: str) -> Iterator[Sample]:
    documents: dict[int, dict[str, float]] = {}
    answers: dict[int, str] = {}
    kind = outcome["configs"][task]["output_type"]
    for row in outcome["samples"][task]:
        values = documents.setdefault(row["doc_id"], {})
        if kind == "generate_until":
            answers[row["doc_id"]] = str(row["resps"][0][0])
        for metric in row["metrics"]:
            name, value = with_filter(metric, row["filter"]), row[metric]
            if isinstance(value, Real):
                values[name] = float(value)
            elif kind == "loglikelihood_rolling" and isinstance(value, tuple):
                values[f"{name}.loglikelihood"], values[f"{name}.weight"] = map(float, value)
    for document, values in documents.items():
        yield Sample(id=f"{task}/{document}", values=values, answer=answers.get(document))


def _require_finite(task: str, row: dict[str, Any]) -> None:
    if not all(math.isfinite(number) for number in _numbers(row["resps"])):
        raise NonFiniteError(
            f"{LM_EVAL.label(task)}: the log-likelihood of document {row['doc_id']} is not finite"
        )


def _numbers(responses: Any) -> Iterator[float]:
    if isinstance(responses, Real):
        yield float(responses)
    elif isinstance(responses, list | tuple):
        for response in responses:
            yield from _numbers(response)


def _prefix(outcome: dict[str, Any], name: str) -> str:
    """Nothing for what was asked for, the name for its parts."""
    groups = list(outcome.get("group_subtasks", {}))
    asked_for = groups or list(outcome["configs"])
    return "" if name == asked_for[0] and (groups or len(asked_for) == 1) else f"{name}: "


def _shots(outcome: dict[str, Any], tasks: list[str]) -> str:
    if all(outcome["configs"][task]["output_type"] == "loglikelihood_rolling" for task in tasks):
        return ""
    shots = sorted({outcome["n-shot"][task] for task in tasks})
    return f" ({'/'.join(map(str, shots))}-shot)"
