"""What holds for every engine, with workers as users have them."""

from __future__ import annotations

import time
from contextlib import closing

import psutil
import pytest

from harness.support.locks import locked
from harness.sweep.cell import do_job, plan_of
from harness.sweep.engines.engine import Ended, Started
from harness.sweep.job import ANSWER, JOB
from tests.sweep.values import values

# Each worker is a process that imports torch, eight for each engine.
pytestmark = pytest.mark.slow
ENOUGH = 180
UNWORKABLE = '{"request": {"device": "cpu"}}'


def lock_of(job: str):
    """The file of the lock that a worker takes before it works."""
    request = JOB.validate_json(job).request
    return request.output / ".locks" / f"{plan_of(request)[1].run_id}.lock"


def worker_at(path) -> psutil.Process:
    """The process that waits for the lock ``path``, as soon as there is one."""
    end = time.monotonic() + ENOUGH
    while time.monotonic() < end:
        for process in psutil.Process().children(recursive=True):
            try:
                if str(path) in {file.path for file in process.open_files()}:
                    return process
            except psutil.Error:
                continue
        time.sleep(0.02)
    pytest.fail(f"no worker came to {path}")


def test_a_worker_killed_in_mid_cell_is_replaced_and_the_records_are_the_same(
    run, jobs, tmp_path, one_thread
):
    work, alone = jobs(tmp_path / "results"), tmp_path / "alone"
    path = lock_of(work[1])
    events = []
    with closing(run(work, workers=2)) as coming:
        with locked(path):
            for event in coming:
                events.append(event)
                if event == Started(1, 1):
                    worker_at(path).kill()
                if event == Started(1, 2):
                    break
        events += coming
    assert [event for event in events if isinstance(event, Started)] == [
        Started(0, 1),
        Started(1, 1),
        Started(1, 2),
    ]
    ends = {event.position: event for event in events if isinstance(event, Ended)}
    assert len(events) == 5
    for position, job in enumerate(jobs(alone)):
        own, other = ANSWER.validate_json(do_job(job, None)), ends[position].answer
        assert other is not None, ends[position].reason
        assert ANSWER.validate_json(other).record.result == own.record.result
        assert own.status == "complete"
    assert values(tmp_path / "results") == values(alone)


def test_a_worker_that_is_always_killed_fails_its_cell_alone(run, jobs, tmp_path, monkeypatch):
    monkeypatch.setattr("harness.sweep.engines.scheduler.ATTEMPTS", 2)
    work = [jobs(tmp_path / "results")[0], UNWORKABLE]
    path = lock_of(work[0])
    ends = {}
    with locked(path):
        for event in run(work):
            if isinstance(event, Started) and event.position == 0:
                worker_at(path).kill()
            if isinstance(event, Ended):
                assert event.position not in ends
                ends[event.position] = event
    assert [ends[0].answer, ends[1].answer] == [None, None]
    assert "killed 2 times" in ends[0].reason
    assert ends[1].reason.startswith("its worker ")
    assert "killed" not in ends[1].reason


def test_devices_reach_the_workers(run, jobs, tmp_path):
    job = jobs(tmp_path / "results")[0]
    *_, end = run([job], devices=["xpu"])
    answer = ANSWER.validate_json(end.answer)
    assert answer.status == "failed"
    assert "xpu" in answer.error


def test_workers_end_with_a_sweep_that_is_closed(run, jobs, tmp_path):
    (job, _) = jobs(tmp_path / "results")
    path = lock_of(job)
    with locked(path):
        events = run([job])
        next(events)
        worker = worker_at(path)
        events.close()
        worker.wait(ENOUGH)
    assert not list((tmp_path / "results").glob("*.json"))
