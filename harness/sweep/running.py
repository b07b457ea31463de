"""Run the cells of a recipe that are not done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.records import store
from harness.records.record import RunRecord
from harness.sweep.engines.engine import Ended, Engine, Started
from harness.sweep.job import ANSWER, JOB, Job, headline
from harness.sweep.shared_folder import shared_folder
from harness.sweep.status import CellStatus


@dataclass(frozen=True)
class CellUpdate:
    """The cell at ``position`` is now in ``state``; ``error`` says why it failed."""

    position: int
    state: str
    error: str | None = None
    value: str = ""
    notices: tuple[str, ...] = ()


Show = Callable[[CellUpdate], None]


@dataclass(frozen=True)
class Workers:
    """Who does the work: ``count`` workers of ``engine`` at once.

    ``config`` are the engine's options; ``devices`` are dealt out, if there are any.
    """

    engine: Engine[Any]
    config: Any
    count: int = 1
    devices: tuple[str, ...] = ()

    def work(self, jobs: Sequence[Job], folder: Path) -> Iterator[Started | Ended]:
        """Do ``jobs``; whoever stops listening ends them."""
        lines = [JOB.dump_json(job).decode() for job in jobs]
        run = self.engine.run(lines, self.count, self.devices, self.config, folder)
        with closing(run) as events:
            yield from events


def run_cells(
    statuses: Sequence[CellStatus],
    output: Path,
    workers: Workers,
    *,
    retry_failed: bool,
    show: Show,
) -> list[CellUpdate]:
    """Do what is not done, in order, and return how every cell ended.

    A cell that fails fails alone. Cells that another sweep is at come last, when it will
    have finished most of them.

    Raises:
        UsageError: the engine cannot be used here, or a record is damaged.
        InfrastructureError: no record can be written, or no cluster answers.
    """
    ends = [_standing(position, status) for position, status in enumerate(statuses)]
    for update in ends:
        show(update)
    todo = [at for at, status in enumerate(statuses) if _wanted(status, retry_failed)]
    if not todo:
        return ends
    sharing = _sharing(statuses, todo)
    with shared_folder(output) as folder:
        for wait in (False, True):
            jobs = [_job(statuses[at], wait, folder if at in sharing else None) for at in todo]
            for event in workers.work(jobs, folder) if jobs else ():
                at = todo[event.position]
                ends[at] = _update(event, at, statuses[at], output)
                show(ends[at])
            todo = [at for at in todo if ends[at].state == "busy"]
    return ends


def _standing(position: int, status: CellStatus) -> CellUpdate:
    if status.record:
        record = status.record
        return CellUpdate(position, record.status, record.error, headline(record))
    return CellUpdate(position, "failed" if status.missing else "pending", status.missing or None)


def _wanted(status: CellStatus, retry_failed: bool) -> bool:
    if status.record is None:
        return not status.missing
    return status.record.status != "complete" and retry_failed


def _job(status: CellStatus, wait: bool, shared: Path | None) -> Job:
    return Job(status.request, status.record.digest if status.record else "", wait, shared)


def _sharing(statuses: Sequence[CellStatus], todo: Sequence[int]) -> set[int]:
    """The cells whose statistics another one needs too."""
    wanted = {at: key for at in todo if (key := _statistics(statuses[at]))}
    count = Counter(wanted.values())
    return {at for at, key in wanted.items() if count[key] > 1}


def _statistics(status: CellStatus) -> str | None:
    """What tells apart the statistics a cell needs; None if no other cell has use of them."""
    if status.spec.method.options.get("propagation") != "original":
        return None
    request = status.request
    return repr((request.model, request.calibration, request.scope, request.dtype,
                 request.batch_size, request.device))  # fmt: skip


def _update(event: Started | Ended, at: int, status: CellStatus, output: Path) -> CellUpdate:
    """What ``event`` says about the cell at ``at``; its record is in ``output`` afterwards."""
    if isinstance(event, Started):
        again = f" (attempt {event.attempt})" if event.attempt > 1 else ""
        return CellUpdate(at, f"running{again}")
    if event.answer is None:
        return CellUpdate(at, "failed", event.reason)
    answer = ANSWER.validate_json(event.answer)
    record = answer.record
    if record is None:
        return CellUpdate(at, answer.status, answer.error, notices=answer.notices)
    if status.cell and status.cell.run_id != record.run_id:
        error = (
            f"its worker found other weights or data under these names (it recorded "
            f"{record.run_id}, not {status.cell.run_id}); leave them as they are during a sweep, "
            "and the same on all machines"
        )
        return CellUpdate(at, "failed", error, notices=answer.notices)
    _keep(record, status, output)
    seen = map(str, record.result.cautions) if record.result else ()
    notices = (*answer.notices, *seen)
    return CellUpdate(at, record.status, record.error, headline(record), notices)


def _keep(record: RunRecord, status: CellStatus, output: Path) -> None:
    """Write what a machine that does not share ``output`` has recorded."""
    stored = store.find(output, record.run_id)
    replaced = status.record.digest if status.record else ""
    if stored is None or stored.digest == replaced != record.digest:
        store.save(record, output)
