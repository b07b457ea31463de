"""What a worker does with one cell, in this process."""

from __future__ import annotations

import errno
import fcntl
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load

from harness.algebra import preconditioners
from harness.errors import InfrastructureError
from harness.experiments import shared_statistics
from harness.records import store
from harness.statistics import disk_cache
from harness.statistics.block_statistics import BlockStatistics
from harness.statistics.moments import Moments
from harness.support.locks import locked
from harness.sweep import cell
from harness.sweep.cell import do_job
from harness.sweep.job import ANSWER, JOB, Job
from harness.sweep.recipe_file import read_recipe, requests
from harness.sweep.shared_folder import PREFIX, shared_folder
from tests.sweep.values import values

ORIGIN = {"weights": "a", "data": "b"}


@pytest.fixture
def jobs(small_recipe, tmp_path):
    def make(ratios="[0.3]", output=None, shared=None, **changes):
        if shared:
            shared.mkdir()
        cells = requests(read_recipe(small_recipe(ratios)), output or tmp_path / "results")
        return [JOB.dump_json(Job(one, shared=shared, **changes)).decode() for one in cells]

    return make


def answer(job):
    return ANSWER.validate_json(do_job(job, None))


def test_two_workers_at_one_cell_do_it_once(jobs, monkeypatch):
    _, job = jobs()
    done = []
    real = cell.run_plan

    def slow(*arguments, **named):
        done.append(threading.get_ident())
        time.sleep(0.2)
        return real(*arguments, **named)

    monkeypatch.setattr(cell, "run_plan", slow)
    answers = []
    workers = [threading.Thread(target=lambda: answers.append(do_job(job, None))) for _ in "ab"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(done) == 1
    first, second = map(ANSWER.validate_json, answers)
    assert first == second


def test_a_cell_that_somebody_else_has_done_meanwhile_is_kept(jobs, tmp_path):
    (_, job) = jobs()
    first = answer(job)
    path = tmp_path / "results" / f"{first.record.run_id}.json"
    before = path.read_bytes()
    assert answer(job) == first
    assert path.read_bytes() == before
    again = JOB.validate_json(job)
    (record,) = [one for one in store.scan(path.parent) if one.run_id == first.record.run_id]
    answer(JOB.dump_json(Job(again.request, replaces=record.digest)))
    assert path.read_bytes() != before


def test_a_full_disk_is_said_and_leaves_no_part(jobs, tmp_path, monkeypatch):
    job, _ = jobs()

    def full(self, *_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    real = Path.replace
    monkeypatch.setattr(
        Path, "replace", lambda self, to: full(self) if self.suffix == ".tmp" else real(self, to)
    )
    found = answer(job)
    assert (found.status, found.record) == ("failed", None)
    assert "free some space" in found.error
    assert not list((tmp_path / "results").glob("*.json"))
    assert not list((tmp_path / "results").glob(".*.tmp"))


def test_shared_statistics_are_collected_once_and_change_no_digit(jobs, tmp_path, monkeypatch):
    alone, together = tmp_path / "alone", tmp_path / "together"
    for job in jobs("[0.3, 0.5]", alone):
        assert answer(job).status == "complete"
    shared = tmp_path / "shared"
    collected = []
    real = shared_statistics.collect

    def counted(*arguments, **named):
        collected.append(1)
        return real(*arguments, **named)

    monkeypatch.setattr(shared_statistics, "collect", counted)
    for job in jobs("[0.3, 0.5]", together, shared):
        assert answer(job).status == "complete"
    assert len(collected) == 1
    assert values(alone) == values(together)


def test_statistics_read_back_bit_for_bit(tmp_path):
    torch.manual_seed(0)

    def moments():
        mix = torch.randn(3, 3).double()
        return Moments(7, mix + mix.T, torch.randn(3).double(), torch.rand(3).double())

    blocks = [
        BlockStatistics({"attention_input": moments()}),
        BlockStatistics(
            {"mlp_input": moments()}, torch.randn(5, 3), (torch.rand(2), torch.rand(1))
        ),
    ]
    path = tmp_path / "some.safetensors"
    disk_cache.save(blocks, ORIGIN, path)
    first, second = disk_cache.load(path, ORIGIN, torch.device("cpu"))
    assert (first.mlp_tokens, first.inverse_norms) == (None, None)
    assert torch.equal(second.mlp_tokens, blocks[1].mlp_tokens)
    assert all(map(torch.equal, second.inverse_norms, blocks[1].inverse_norms))
    for found, wanted in zip((first, second), blocks, strict=True):
        ((site, one),) = found.moments.items()
        assert one.count == wanted.moments[site].count
        for part in disk_cache.PARTS:
            read = getattr(one, part)
            assert torch.equal(read, getattr(wanted.moments[site], part))
            # As computed ones: matrix products depend on it in their last digits.
            assert read.data_ptr() % 64 == 0


def test_a_failed_collection_leaves_no_statistics(tmp_path):
    def fails():
        preconditioners.damped(torch.full((2, 2), torch.nan), 0.1)

    with pytest.raises(Exception, match="NaN"):
        disk_cache.shared(tmp_path, ORIGIN, torch.device("cpu"), fails)
    assert not list(tmp_path.glob("*.safetensors"))


def test_the_shelf_of_a_killed_sweep_is_removed_and_that_of_a_living_one_is_not(tmp_path):
    dead = tmp_path / f"{PREFIX}dead"
    dead.mkdir()
    (dead / "owner").touch()
    with shared_folder(tmp_path) as first, shared_folder(tmp_path) as second:
        assert not dead.exists()
        assert first.is_dir()
        assert second.is_dir()
    assert not list(tmp_path.glob(f"{PREFIX}*"))


HOLDER = """
import sys, time
from pathlib import Path
from harness.support.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_lock_of_a_dead_owner_is_taken_over(tmp_path):
    path = tmp_path / "cell.lock"
    owner = subprocess.Popen([sys.executable, "-c", HOLDER, path], stdout=subprocess.PIPE)
    assert owner.stdout.readline() == b"held\n"
    with path.open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    owner.kill()
    owner.communicate()
    with locked(path):
        pass


def test_a_folder_that_cannot_hold_locks_is_said(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(InfrastructureError, match="choose an --output"),
        locked(tmp_path / "file" / "cell.lock"),
    ):
        pass


def test_a_failing_cell_is_an_answer(jobs):
    _, job = jobs("[0.999]")
    found = answer(job)
    assert found.status == "failed"
    assert json.loads(do_job(job, None))["error"] == found.error


def test_a_cell_that_somebody_is_at_is_busy_unless_one_waits(jobs, tmp_path):
    results = tmp_path / "results"
    (job, _), (patient, _) = jobs(wait=False), jobs(wait=True)
    run_id = answer(patient).record.run_id
    (results / f"{run_id}.json").unlink()
    with locked(results / ".locks" / f"{run_id}.lock"):
        assert answer(job).status == "busy"
    assert answer(job).status == "complete"


def test_damaged_statistics_are_collected_again_and_it_is_said(jobs, tmp_path):
    shared = tmp_path / "shared"
    first, second = jobs("[0.3, 0.5]", shared=shared)[1:]
    assert answer(first).notices == ()
    (path,) = shared.glob("*.safetensors")
    whole = path.read_bytes()
    before = load(whole)
    path.write_bytes(whole[: len(whole) // 2])
    found = answer(second)
    assert found.status == "complete"
    (notice,) = found.notices
    assert "is damaged" in notice
    assert "calibrating again" in notice
    again = load(path.read_bytes())
    assert again.keys() == before.keys()
    assert all(torch.equal(again[name], before[name]) for name in before)


def test_statistics_of_something_else_are_not_taken(tmp_path):
    path = tmp_path / "some.safetensors"
    disk_cache.save([], ORIGIN, path)
    with pytest.raises(ValueError, match="something else"):
        disk_cache.load(path, ORIGIN | {"data": "c"}, torch.device("cpu"))


def test_statistics_that_find_no_room_fail_the_cell_with_the_fix(jobs, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk_cache, "save_file", full)
    found = answer(jobs(shared=tmp_path / "shared")[1])
    assert found.status == "failed"
    assert "cannot keep statistics" in found.error
    assert "free some space" in found.error
