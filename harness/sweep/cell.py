"""One cell, alone: its plan, its lock, its record."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from harness.errors import HarnessError, UsageError
from harness.experiments.cells import Cell
from harness.experiments.plan import Plan, make_plan
from harness.experiments.request import Request
from harness.experiments.resolve import Resolver
from harness.experiments.runner import run_plan
from harness.records import store
from harness.support.failures import failures_explained
from harness.support.locks import locked
from harness.sweep.job import ANSWER, JOB, Answer, Job, answer_of


def do_job(text: bytes | str, device: str | None) -> str:
    """Do the job in ``text`` on ``device`` (None: its own); the answer as text."""
    job = JOB.validate_json(text)
    if device:
        job = replace(job, request=replace(job.request, device=device))
    with _warnings_kept() as kept:
        try:
            with failures_explained("the cell"):
                answer = _done(job)
        except HarnessError as error:
            answer = Answer("failed", " ".join(str(error).split()))
    return ANSWER.dump_json(answer.with_notices(tuple(kept))).decode()


def plan_of(request: Request, resolver: Resolver | None = None) -> tuple[Plan, Cell]:
    """The plan of nothing but the last cell of ``request``, and that cell.

    The dense reference of a compressed cell is another worker's.

    Raises:
        UsageError: see ``make_plan``; says where in the recipe the cell is asked for.
    """
    try:
        plan = make_plan(request, resolver)
    except UsageError as error:
        if not request.place:
            raise
        raise UsageError(f"{request.place}: {error}") from error
    variant = plan.variants[-1]
    return replace(plan, variants=(variant,)), variant.cells[0]


def _done(job: Job) -> Answer:
    # Whether there is a record counts only under the lock.
    plan, cell = plan_of(replace(job.request, force=True))
    output = job.request.output
    with locked(output / ".locks" / f"{cell.run_id}.lock", wait=job.wait) as held:
        record = store.find(output, cell.run_id)
        if record and record.digest != job.replaces:
            return answer_of(record)
        if not held:
            return Answer("busy")
        shared = job.shared if job.shared and job.shared.is_dir() else None
        return answer_of(run_plan(plan, shared=shared)[0])


@contextmanager
def _warnings_kept() -> Iterator[list[str]]:
    """All that the harness warns of, which a worker's standard error would hide."""
    kept: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: kept.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("harness")
    logger.addHandler(handler)
    try:
        yield kept
    finally:
        logger.removeHandler(handler)
