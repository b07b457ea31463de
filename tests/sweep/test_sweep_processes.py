"""The engine for this machine, with workers as users have them."""

from __future__ import annotations

import psutil
import pytest

from harness.cli.main import main
from harness.engines.engine import Ended, Started
from harness.engines.local import LocalEngine
from harness.recipe import read_recipe, requests
from harness.sweep.job import ANSWER, JOB, Job


def workers():
    return [one for one in psutil.Process().children() if "harness.sweep.worker" in one.cmdline()]


def job_of(recipe, output) -> str:
    return JOB.dump_json(Job(requests(read_recipe(recipe), output)[-1])).decode()


def test_a_killed_worker_is_replaced(small_recipe, tmp_path):
    events = []
    engine = LocalEngine()
    for event in engine.run([job_of(small_recipe(), tmp_path / "results")], 1, []):
        if event == Started(0, 1):
            (worker,) = workers()
            worker.kill()
        events.append(event)
    assert events[:2] == [Started(0, 1), Started(0, 2)]
    assert ANSWER.validate_json(events[2].answer).status == "complete"


def test_a_worker_that_is_always_killed_fails_its_cell_alone(small_recipe, tmp_path):
    job = job_of(small_recipe(), tmp_path / "results")
    ends = {}
    for event in LocalEngine().run([job, "no job"], 1, []):
        if isinstance(event, Started) and event.position == 0:
            (worker,) = workers()
            worker.kill()
        if isinstance(event, Ended):
            ends[event.position] = event
    assert "killed by SIGKILL 3 times" in ends[0].reason
    assert "ended with code 1" in ends[1].reason


def test_workers_end_with_a_sweep_that_is_closed(small_recipe, tmp_path):
    events = LocalEngine().run([job_of(small_recipe(), tmp_path / "results")], 1, [])
    next(events)
    (worker,) = workers()
    events.close()
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE


def test_a_failing_cell_fails_alone_and_only_retry_runs_it_again(
    small_recipe, tmp_path, capsys, monkeypatch
):
    recipe, output = small_recipe("[0.999]"), tmp_path / "results"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    sweep = ["sweep", str(recipe), "--output", str(output)]
    assert main([*sweep, "--workers", "2"]) == 4
    error = capsys.readouterr().err.splitlines()[-1]
    assert "1 of 2 cells did not complete" in error
    assert "--retry-failed" in error
    before = {path: path.read_bytes() for path in output.glob("*.json")}
    assert len(before) == 2
    monkeypatch.setattr(LocalEngine, "run", lambda *_: pytest.fail("nothing was to be run"))
    assert main(sweep) == 4
    ran = []
    monkeypatch.setattr(
        LocalEngine, "run", lambda _, jobs, *__: ran.extend(jobs) or (one for one in ())
    )
    assert main([*sweep, "--retry-failed"]) == 4
    assert len(ran) == 1
    assert {path: path.read_bytes() for path in output.glob("*.json")} == before
    assert not list(output.glob(".statistics-*"))
