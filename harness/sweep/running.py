"""Run the cells of a recipe that are not done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

from harness.engines.engine import Ended, Engine, Started
from harness.sweep.job import ANSWER, JOB, Job, headline
from harness.sweep.shelf import shelf
from harness.sweep.survey import Entry


@dataclass(frozen=True)
class Change:
    """The cell at ``position`` is now in ``state``; ``error`` says why it failed."""

    position: int
    state: str
    error: str | None = None
    value: str = ""
    notices: tuple[str, ...] = ()


Show = Callable[[Change], None]


def run_cells(
    entries: Sequence[Entry],
    output: Path,
    engine: Engine,
    workers: int,
    devices: Sequence[str],
    *,
    retry_failed: bool,
    show: Show,
) -> list[Change]:
    """Do what is not done, in order, and return how every cell ended.

    A cell that fails fails alone. Cells that another sweep is at come last, when it will
    have finished most of them.
    """
    ends = [_standing(position, entry) for position, entry in enumerate(entries)]
    for change in ends:
        show(change)
    todo = [at for at, entry in enumerate(entries) if _wanted(entry, retry_failed)]
    sharing = _sharing(entries, todo)
    with ExitStack() as stack:
        shared = stack.enter_context(shelf(output)) if todo else None
        for wait in (False, True):
            jobs = [_job(entries[at], wait, shared if at in sharing else None) for at in todo]
            for change in _changes(engine, jobs, workers, devices):
                at = todo[change.position]
                ends[at] = replace(change, position=at)
                show(ends[at])
            todo = [at for at in todo if ends[at].state == "busy"]
    return ends


def _changes(
    engine: Engine, jobs: Sequence[Job], workers: int, devices: Sequence[str]
) -> Iterator[Change]:
    if not jobs:
        return
    lines = [JOB.dump_json(job).decode() for job in jobs]
    with closing(engine.run(lines, workers, devices)) as events:
        yield from map(_change, events)


def _standing(position: int, entry: Entry) -> Change:
    if entry.record:
        record = entry.record
        return Change(position, record.status, record.error, headline(record))
    return Change(position, "failed" if entry.missing else "pending", entry.missing or None)


def _wanted(entry: Entry, retry_failed: bool) -> bool:
    if entry.record is None:
        return not entry.missing
    return entry.record.status != "complete" and retry_failed


def _job(entry: Entry, wait: bool, shared: Path | None) -> Job:
    return Job(entry.request, entry.record.digest if entry.record else "", wait, shared)


def _sharing(entries: Sequence[Entry], todo: Sequence[int]) -> set[int]:
    """The cells whose statistics another one needs too."""
    wanted = {at: key for at in todo if (key := _statistics(entries[at]))}
    count = Counter(wanted.values())
    return {at for at, key in wanted.items() if count[key] > 1}


def _statistics(entry: Entry) -> str | None:
    """What tells apart the statistics a cell needs; None if no other cell has use of them."""
    if entry.cell is None or entry.cell.spec.method.options.get("propagation") != "original":
        return None
    request = entry.request
    return repr((request.model, request.calibration, request.scope, request.dtype,
                 request.batch_size, request.device))  # fmt: skip


def _change(event: Started | Ended) -> Change:
    if isinstance(event, Started):
        again = f" (attempt {event.attempt})" if event.attempt > 1 else ""
        return Change(event.position, f"running{again}")
    if event.answer is None:
        return Change(event.position, "failed", event.reason)
    answer = ANSWER.validate_json(event.answer)
    return Change(event.position, answer.status, answer.error, answer.value, answer.notices)
