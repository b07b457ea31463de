"""One cell, alone: its plan, its lock, its record."""

from __future__ import annotations

from dataclasses import replace

from harness import store
from harness.errors import HarnessError
from harness.plan import Cell, Plan, Request, make_plan
from harness.record import RunRecord
from harness.runner import failures_explained, run_plan
from harness.sweep.job import ANSWER, JOB, Answer, Job
from harness.sweep.locks import cell_locked


def do_job(text: bytes | str, device: str | None) -> str:
    """Do the job in ``text`` on ``device`` (None: its own); the answer as text."""
    job = JOB.validate_json(text)
    if device:
        job = replace(job, request=replace(job.request, device=device))
    try:
        record = _done(job)
        answer = Answer(record.run_id, record.status, record.error)
    except HarnessError as error:
        answer = Answer("", "failed", " ".join(str(error).split()))
    return ANSWER.dump_json(answer).decode()


def plan_of(request: Request) -> tuple[Plan, Cell]:
    """The plan of nothing but the last cell of ``request``, and that cell.

    The dense reference of a compressed cell is another worker's.
    """
    plan = make_plan(request)
    variant = plan.variants[-1]
    return replace(plan, variants=(variant,)), variant.cells[0]


def _done(job: Job) -> RunRecord:
    # Whether there is a record counts only under the lock.
    plan, cell = plan_of(replace(job.request, force=True))
    output = job.request.output
    with cell_locked(output, cell.run_id):
        found = store.find(output, cell.run_id)
        if found and found.digest != job.replaces:
            return found
        with failures_explained("the cell"):
            return run_plan(plan)[0]
