"""Sweeps that are killed at any moment, interrupted, or two at once.

``HARNESS_KILLS`` sets how many times a sweep is killed (default 6).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.helpers.forking import ENOUGH, finished
from tests.sweep.forked_sweeps import sweep
from tests.sweep.values import leftovers, values

KILLS = int(os.environ.get("HARNESS_KILLS", "6"))


@pytest.fixture
def start(fork):
    return partial(fork, sweep)


@pytest.mark.slow  # eight sweeps and more
def test_killed_at_any_moment_a_sweep_resumes_to_the_same_board(small_recipe, start, tmp_path):
    _survives_kills(start, small_recipe("[0.1, 0.3, 0.5]"), tmp_path)
    assert leftovers(tmp_path / "killed") == set()


@pytest.mark.extras
@pytest.mark.slow
@pytest.mark.soak  # each of them starts a cluster
def test_killed_on_ray_it_resumes_to_the_same_board(small_recipe, tmp_path):
    pytest.importorskip("ray", reason="needs harness[ray]")
    # A killed sweep's cluster ends some time after it and may hold its shared folder until then.
    start = partial(OwnProcess, "--engine", "ray")
    _survives_kills(start, small_recipe("[0.1, 0.5]"), tmp_path)


def _survives_kills(start, recipe, base) -> None:
    undisturbed, output = base / "undisturbed", base / "killed"
    # The first sweep of all takes longer: what the others start from is read for the first time.
    assert finished(start(recipe, base / "first", "--workers", "2")) == 0
    begin = time.monotonic()
    assert finished(start(recipe, undisturbed, "--workers", "2")) == 0
    length = time.monotonic() - begin
    board = values(undisturbed)
    chance = random.Random(KILLS)
    killed, partly = 0, 0
    while killed < KILLS:
        sweep = start(recipe, output, "--workers", "2")
        sweep.join(chance.uniform(0, length))
        if killed % 3 == 1:
            _kill_one_worker(sweep)
            sweep.join(chance.uniform(0, length / 4))
        killed += sweep.is_alive()
        sweep.kill()
        sweep.join()
        found = values(output) if output.is_dir() else {}
        assert found.items() <= board.items()
        partly += 0 < len(found) < len(board)
        if len(found) == len(board):
            for path in output.glob("*.json"):
                path.unlink()
    sys.stderr.write(f"killed {killed} sweeps at work; {partly} times some cells were done\n")
    assert finished(start(recipe, output, "--workers", "2")) == 0
    assert values(output) == board


class OwnProcess:
    """``harness sweep`` as a user starts it, seen as the forked ones are."""

    def __init__(self, *words: str | Path) -> None:
        *options, recipe, output, flag, workers = words
        command = [sys.executable, "-m", "harness.cli.main", "sweep", recipe, "--output", output]
        with Path(f"{output}.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *options, flag, workers],
                stdout=log,
                stderr=log,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                start_new_session=True,
            )
        self.pid = self._process.pid
        self.kill = self._process.kill

    @property
    def exitcode(self) -> int | None:
        return self._process.poll()

    def is_alive(self) -> bool:
        return self.exitcode is None

    def join(self, timeout: float | None = None) -> None:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)


def _kill_one_worker(sweep) -> None:
    try:
        for worker in psutil.Process(sweep.pid).children()[:1]:
            worker.kill()
    except psutil.NoSuchProcess:
        pass


def test_workers_end_with_a_killed_sweep(small_recipe, start, tmp_path):
    sweep = start(small_recipe(), tmp_path / "results")
    (worker,) = _workers(sweep)
    sweep.kill()
    worker.wait(ENOUGH)


def test_two_sweeps_on_one_folder_lose_and_double_no_cell(small_recipe, start, tmp_path):
    recipe, output = small_recipe("[0.1, 0.2, 0.3, 0.4]"), tmp_path / "results"
    sweeps = [start(recipe, output) for _ in "ab"]
    assert [finished(sweep) for sweep in sweeps] == [0, 0]
    assert len(values(output)) == 5
    assert leftovers(output) == set()
    alone = tmp_path / "alone"
    assert finished(start(recipe, alone)) == 0
    assert values(output) == values(alone)


def test_control_c_ends_the_workers_and_keeps_what_is_done(small_recipe, start, tmp_path):
    recipe, output = small_recipe("[0.1, 0.2, 0.3, 0.4, 0.5]"), tmp_path / "results"
    sweep = start(recipe, output)
    while not list(output.glob("*.json")):
        assert sweep.is_alive()
        time.sleep(0.01)
    workers = _workers(sweep)
    os.kill(sweep.pid, signal.SIGINT)
    assert finished(sweep) == 130
    for worker in workers:
        worker.wait(ENOUGH)
    log = (tmp_path / "results.log").read_text()
    assert log.endswith("interrupted; finished cells are kept, run again to go on\n")
    assert 0 < len(values(output)) < 6
    assert leftovers(output) == set()


def _workers(sweep) -> list[psutil.Process]:
    while True:
        if found := psutil.Process(sweep.pid).children():
            return found
        time.sleep(0.01)
