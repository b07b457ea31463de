"""Every write, flush, rename and opening of every command fails once: nothing is torn or lost.

Afterwards each file is what it was or what it was to become, the error names it, and the same
command again ends as if nothing had been. Standard error says how many points were tried.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.commands import State, Writing, commands
from tests.helpers.faults import KINDS, failing

NAMES = list(commands(Path(), Path()))
CHEAP = ("leaderboard", "accept", "calibrate", "merge")
POINTS: dict[str, int] = {}


@pytest.fixture(scope="module")
def known(model_folder, texts) -> dict[str, Writing]:
    return commands(model_folder("opt"), texts)


@pytest.fixture(scope="module", autouse=True)
def points() -> Iterator[None]:
    yield
    sys.stderr.write(f"\n{sum(POINTS.values())} faults, nothing torn: {POINTS}\n")


@pytest.mark.parametrize("name", CHEAP)
def test_a_full_disk_in_the_middle(name, known, cli, tmp_path):
    points = _points(known[name], cli, tmp_path)
    for number in (0, points // 2, points - 1):
        _fails_whole(known[name], cli, tmp_path, number, errno.ENOSPC)


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.parametrize("name", NAMES)
def test_every_point(name, known, cli, tmp_path):
    points = _points(known[name], cli, tmp_path)
    for number in range(points):
        for code in KINDS:
            _fails_whole(known[name], cli, tmp_path, number, code)
    POINTS[name] = points * len(KINDS)


def _points(command: Writing, cli, base: Path) -> int:
    """How many operations it takes undisturbed."""
    folder = _fresh(command, base)
    with failing(folder, None) as faults:
        outcome = cli(*command.arguments(folder))
    assert outcome.code == 0, outcome.err
    return faults.count


def _fresh(command: Writing, base: Path) -> Path:
    for path in base.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
    folder = base / "work"
    command.prepare(folder)
    return folder


def _fails_whole(command: Writing, cli, base: Path, number: int, code: int) -> None:
    folder = _fresh(command, base)
    before = command.state(folder)
    with failing(folder, number, code) as faults:
        outcome = cli(*command.arguments(folder))
    what = f"{number}: {os.strerror(code)} at {faults.failed}\n{outcome.err}"
    assert outcome.code in (0, 3, 4), what
    between = command.state(folder)
    if outcome.code:
        last = outcome.err.splitlines()[-1]
        assert last.startswith("harness: error: "), what
        assert "unexpected" not in last, what
        assert str(folder) in last, what
    again = cli(*command.arguments(folder))
    if again.code == 4 and outcome.code == 4:  # a failed cell is kept until it is asked for anew
        again = cli(*command.arguments(folder), "--retry-failed")
    assert again.code == 0, what + again.err
    after = command.state(folder)
    _require_old_or_new(before, between, after, what)
    assert _leftovers(folder) == set(), what


def _require_old_or_new(before: State, between: State, after: State, what: str) -> None:
    assert before.keys() <= between.keys(), what
    for name, value in between.items():
        # A cell that failed for it has a whole record that says so.
        failed = isinstance(value, tuple) and value[0] == "failed"
        assert failed or value in (before.get(name), after[name]), what


def _leftovers(folder: Path) -> set[str]:
    return {
        path.name
        for path in folder.rglob(".*")
        if path.name.endswith((".tmp", ".partial", ".replaced"))
    }
