"""One folder of results on a file system without ``flock``: several commands at once, and kills."""

from __future__ import annotations

import os
import time
from collections import Counter
from functools import partial

import pytest

from tests.faults.commands import commands
from tests.helpers.faults import without_locks
from tests.helpers.forking import finished
from tests.sweep.forked_sweeps import sweep
from tests.sweep.values import leftovers, values


def without_flock(target, worked, *arguments):
    """Run ``target``; each cell that a sweep works at is a line of the file ``worked``."""
    from harness.sweep import cell

    real = cell.run_plan

    def noting(plan, **options):
        with worked.open("a") as file:
            file.write(f"{plan.variants[0].cells[0].run_id}\n")
        return real(plan, **options)

    cell.run_plan = noting
    with without_locks():
        target(*arguments)


def command(*arguments):
    from harness.cli.main import main

    os._exit(main([str(argument) for argument in arguments]))


@pytest.fixture
def start(fork, tmp_path):
    return partial(fork, without_flock, sweep, tmp_path / "worked")


@pytest.fixture
def work(fork, tmp_path):
    return partial(fork, without_flock, command, tmp_path / "worked")


def test_two_sweeps_a_run_and_a_leaderboard_lose_and_double_nothing(
    small_recipe, start, work, tmp_path, model_folder, texts
):
    recipe, output = small_recipe("[0.1, 0.2, 0.3, 0.4]"), tmp_path / "results"
    run = commands(model_folder("opt"), texts)["run"].arguments(tmp_path)
    sweeps = [start(recipe, output) for _ in "ab"]
    others = [work(*run)]
    while any(sweep.is_alive() for sweep in sweeps):
        board = ("leaderboard", "--results", output, "--output", tmp_path / "board")
        if list(output.glob("*.json")):
            others.append(work(*board))
            assert finished(others[-1]) == 0
        time.sleep(0.01)
    assert [finished(process) for process in (*sweeps, *others)] == [0] * (2 + len(others))
    worked = Counter((tmp_path / "worked").read_text().split())
    alone, ran = tmp_path / "alone", tmp_path / "ran"
    assert finished(start(recipe, alone)) == 0
    assert finished(work(*run[:-1], ran)) == 0
    assert values(output) == values(alone) | values(ran)
    assert leftovers(output) == set()
    assert set(worked) <= values(alone).keys()
    assert set(worked.values()) == {1}


def test_what_a_killed_sweep_was_at_is_done_once_by_those_that_come_after(
    small_recipe, start, tmp_path
):
    recipe, output = small_recipe("[0.1, 0.2]"), tmp_path / "results"
    killed = start(recipe, output)
    while not list(output.glob(".locks/.*.lock.held/1")):
        assert killed.is_alive()
    killed.kill()
    killed.join()
    sweeps = [start(recipe, output) for _ in "ab"]
    assert [finished(sweep) for sweep in sweeps] == [0, 0]
    assert len(values(output)) == 3
    assert leftovers(output) == set()
    alone = tmp_path / "alone"
    assert finished(start(recipe, alone)) == 0
    assert values(output) == values(alone)
