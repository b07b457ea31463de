"""Measure again what a saved model claims, and say whether it holds."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.checkpoints.card_metadata import claimed_by, dataset_of
from harness.checkpoints.manifest import CARD, is_saved
from harness.checkpoints.resolve import resolve_model
from harness.checkpoints.saved_record import SavedRecord, read_saved_record
from harness.errors import AssetError, HarnessError, UsageError, unknown
from harness.experiments.request import Request
from harness.experiments.runner import run
from harness.records.record import Environment, RunRecord
from harness.records.results import Metric
from harness.support.progress import Announce, Tracker, silent, unannounced

TOLERANCE = 1e-3
"""By so much of its value a number may differ on another platform; see ``within``."""
TASK_FILES = (".yaml", ".yml")
"""What names code of a task that is no part of an installed package."""
Outcome = Literal["holds", "does not hold", "not measured"]


@dataclass(frozen=True)
class Claim:
    """One number that a saved model claims, and what came of it.

    Attributes:
        task, metric: what is claimed; ``metric`` with its slice if it has one.
        claimed: the value, as text where a card says something that is no number.
        measured: the value now, None if there is none.
        outcome: what to think of it.
        reason: why, for people.
    """

    task: str
    metric: str
    claimed: float | str
    measured: float | None
    outcome: Outcome
    reason: str


@dataclass(frozen=True)
class Conditions:
    """How to measure: on which device, and of which tasks, with data of one's own for some.

    ``tasks`` is None for all that are claimed but those that are files.
    """

    device: str = "cpu"
    offload: bool = False
    tasks: Mapping[str, str | None] | None = None
    tolerance: float = TOLERANCE


def verify(
    reference: str,
    conditions: Conditions,
    track: Tracker = silent,
    announce: Announce = unannounced,
) -> list[Claim]:
    """Every claim of the saved model behind ``reference``, those of its card first.

    No code of the model's folder is run.

    Raises:
        UsageError: it is no saved model, it claims nothing, or not what was asked for.
        AssetError: it cannot be had or is damaged.
    """
    folder = resolve_model(reference).folder
    if not is_saved(folder):
        raise UsageError(f"{reference} is no model saved by harness; it claims nothing")
    saved = read_saved_record(folder)
    records = _chosen(reference, saved, conditions.tasks)
    claims = list(_claims_of_card(folder, saved))
    for at, record in enumerate(records, start=1):
        announce(record.spec.task.name, at, len(records))
        claims += _claims_of_record(reference, record, conditions, track)
    return claims


def same_platform(a: Environment, b: Environment) -> bool:
    """Whether numbers are expected to be equal to the digit."""
    parts = ("harness", "platform", "packages", "device", "device_name", "threads")
    return all(getattr(a, part) == getattr(b, part) for part in parts)


def within(metric: Metric, value: float, tolerance: float) -> bool:
    """Whether ``value`` is that of ``metric`` on another platform.

    A share of ``n`` units, such as an accuracy, may also differ by one of them.
    """
    allowed = tolerance * abs(metric.value)
    if metric.higher_is_better and 0 <= metric.value <= 1:
        allowed = max(tolerance, 1.0 / max(metric.n, 1)) * (1 + 1e-9)
    return abs(metric.value - value) <= allowed


def _chosen(
    reference: str, saved: SavedRecord, tasks: Mapping[str, str | None] | None
) -> list[RunRecord]:
    for record in saved.records:
        if record.content_digest() != record.digest:
            raise AssetError(
                f"{reference} holds a record of {record.spec.task.name} that was changed after it "
                "was written; copy the saved model again"
            )
    records = [record for record in saved.records if record.result and record.status == "complete"]
    if not records:
        raise UsageError(
            f"{reference} claims no results; measure it with 'harness run --model {reference}'"
        )
    if tasks is None:
        return records
    names = [record.spec.task.name for record in records]
    for name in tasks:
        if name not in names:
            raise unknown("claimed task", name, names)
    return [record for record in records if record.spec.task.name in tasks]


def _claims_of_card(folder: Path, saved: SavedRecord) -> Iterator[Claim]:
    """What the card claims and the record does not: a card may be edited."""
    card = folder / CARD
    if not card.is_file():
        return
    recorded = {
        (dataset_of(record), metric.name): metric.value
        for record in saved.records
        for metric in (record.result.metrics if record.result else ())
        if metric.slice is None
    }
    for result in claimed_by(card.read_text("utf-8", errors="replace")):
        task, metric = str(result.dataset_type), str(result.metric_name or result.metric_type)
        value, known = result.metric_value, recorded.get((task, metric))
        if known is None or known != value:
            yield Claim(
                task,
                metric,
                float(value) if isinstance(value, int | float) else str(value),
                known,
                "does not hold",
                "the model card says so, its record does not",
            )


def _claims_of_record(
    reference: str, record: RunRecord, conditions: Conditions, track: Tracker
) -> list[Claim]:
    assert record.result is not None
    name, metrics = record.spec.task.name, record.result.metrics
    chosen = conditions.tasks or {}
    if name.lower().endswith(TASK_FILES) and name not in chosen:
        reason = f"its task is a file of code; read it and pass --tasks {name}"
        return _not_measured(name, metrics, reason)
    try:
        again = _measured(reference, record, conditions, chosen.get(name), track)
    except HarnessError as error:
        return _not_measured(name, metrics, str(error))
    if again.result is None:
        return _not_measured(name, metrics, again.error or "it failed")
    if again.data.fingerprint != record.data.fingerprint:
        reason = f"the data are not those of the claim; pass --tasks {name}=FILE with those"
        return _not_measured(name, metrics, reason)
    exact = same_platform(record.environment, again.environment)
    measured = {(metric.name, metric.slice): metric for metric in again.result.metrics}
    return [
        _judged(name, metric, measured.get((metric.name, metric.slice)), conditions, exact=exact)
        for metric in metrics
    ]


def _measured(
    reference: str,
    record: RunRecord,
    conditions: Conditions,
    data: str | None,
    track: Tracker,
) -> RunRecord:
    assert record.result is not None
    task = record.spec.task
    with tempfile.TemporaryDirectory() as folder:
        (again,) = run(
            Request(
                methods={},
                ratios=[],
                tasks=[task.model_copy(update={"data": data}) if data else task],
                model=reference,
                dtype=record.spec.dtype,
                device=conditions.device,
                seed=record.spec.seed,
                batch_size=record.result.batch_size,
                output=Path(folder),
                offload=conditions.offload,
            ),
            track,
        )
    return again


def _judged(
    task: str, metric: Metric, again: Metric | None, conditions: Conditions, *, exact: bool
) -> Claim:
    title = f"{metric.name} {metric.slice}" if metric.slice else metric.name
    if again is None or again.n != metric.n:
        reason = f"it was taken over {metric.n} {metric.unit}, now over {again.n if again else 0}"
        value = again.value if again else None
        return Claim(task, title, metric.value, value, "does not hold", reason)
    if again.value == metric.value:
        return Claim(task, title, metric.value, again.value, "holds", "equal to the digit")
    if exact:
        reason = "on the same platform it is to be equal to the digit"
        return Claim(task, title, metric.value, again.value, "does not hold", reason)
    if within(metric, again.value, conditions.tolerance):
        reason = f"within {conditions.tolerance:g}, on another platform"
        return Claim(task, title, metric.value, again.value, "holds", reason)
    reason = f"off by more than {conditions.tolerance:g}, on another platform"
    return Claim(task, title, metric.value, again.value, "does not hold", reason)


def _not_measured(task: str, metrics: Sequence[Metric], reason: str) -> list[Claim]:
    return [
        Claim(task, metric.name, metric.value, None, "not measured", reason)
        for metric in metrics
        if metric.slice is None
    ]
