"""All that cells need from elsewhere, each thing once, brought here before any of them runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal

from harness.assets.folders import model_files
from harness.assets.kinds import TextAsset
from harness.calibration.sources import resolve_calibration
from harness.checkpoints.resolve import resolve_model
from harness.errors import HarnessError
from harness.experiments.request import Request
from harness.experiments.resolve import prepared_task
from harness.records.spec import CalibrationSpec, TaskSpec
from harness.support.failures import failures_explained
from harness.support.offline import offline

State = Literal["there already", "fetched", "failed"]


@dataclass(frozen=True)
class Need:
    """One thing that cells need.

    ``get`` finds or fetches it and gives its size in bytes, None where that is not known.
    """

    kind: Literal["model", "calibration", "task"]
    name: str
    get: Callable[[], int | None]


@dataclass(frozen=True)
class Outcome:
    """What became of a need."""

    need: Need
    state: State
    size: int | None = None
    error: HarnessError | None = None


def needs(requests: Iterable[Request]) -> list[Need]:
    """What all of ``requests`` need together, each thing once, models first."""
    found: dict[tuple[str, str], Need] = {}
    for request in requests:
        for need in _needs(request):
            found.setdefault((need.kind, need.name), need)
    order = ("model", "calibration", "task")
    return sorted(found.values(), key=lambda need: order.index(need.kind))


def fetch_need(need: Need) -> Outcome:
    """Fetch what is not at hand; a failure is part of the outcome."""
    with suppress(HarnessError), offline(), failures_explained(need.name):
        return Outcome(need, "there already", need.get())
    try:
        with failures_explained(need.name):
            return Outcome(need, "fetched", need.get())
    except HarnessError as error:
        return Outcome(need, "failed", error=error)


def _needs(request: Request) -> Iterator[Need]:
    yield Need("model", request.model, partial(_model, request.model))
    for task in request.tasks:
        if request.methods:
            spec = request.calibration_for(task.name)
            yield Need("calibration", spec.text, partial(_calibration, spec))
        yield Need("task", _title(task), partial(_task, task))


def _title(task: TaskSpec) -> str:
    name = f"{task.name}={task.data}" if task.data else task.name
    options = ", ".join(f"{key}={value}" for key, value in task.options.items())
    return f"{name}[{options}]" if options else name


def _model(reference: str) -> int:
    folder = resolve_model(reference).folder
    return sum(file.stat().st_size for file in model_files(folder))


def _calibration(spec: CalibrationSpec) -> int | None:
    data = resolve_calibration(spec)
    if isinstance(data, TextAsset):
        return sum(len(document.encode(errors="replace")) for document in data.documents)
    return None


def _task(task: TaskSpec) -> None:
    prepared_task(task)
