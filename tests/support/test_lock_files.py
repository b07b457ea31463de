"""Locks without ``flock``: one owner at a time, whoever dies, comes late or falls silent."""

from __future__ import annotations

import os
import threading

import pytest

from harness.support import lock_files
from harness.support.lock_files import lock_file
from tests.helpers.forking import finished

TIMES = 25


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def add_up(folder, times=TIMES):
    """Read and write a number, which only works out one process at a time."""
    for _ in range(times):
        with lock_file(folder / "lock"):
            total = int((folder / "total").read_text())
            (folder / "total").write_text(str(total + 1))


def hold(folder):
    with lock_file(folder / "lock"):
        (folder / "holding").touch()
        threading.Event().wait()


def test_no_two_processes_have_it_at_once(fork, tmp_path):
    (tmp_path / "total").write_text("0")
    processes = [fork(add_up, tmp_path) for _ in range(6)]
    assert [finished(process) for process in processes] == [0] * 6
    assert (tmp_path / "total").read_text() == str(6 * TIMES)
    assert names(tmp_path / "lock") == [f"{6 * TIMES}.free"]


def test_what_a_killed_process_held_is_free_at_once_and_to_one_of_those_who_wait(fork, tmp_path):
    (tmp_path / "total").write_text("0")
    holder = fork(hold, tmp_path)
    while not (tmp_path / "holding").exists():
        assert holder.is_alive()
    with lock_file(tmp_path / "lock", wait=False) as held:
        assert not held
    waiting = [fork(add_up, tmp_path, 3) for _ in range(4)]
    holder.kill()
    assert [finished(process) for process in waiting] == [0] * 4
    assert (tmp_path / "total").read_text() == "12"


def test_who_comes_with_what_it_saw_before_stands_back(tmp_path):
    for _ in range(2):
        with lock_file(tmp_path):
            pass
    assert not lock_files._made(tmp_path, 2)  # it saw ``1.free``
    assert names(tmp_path) == ["2.free"]
    with lock_file(tmp_path):
        assert not lock_files._made(tmp_path, 2)
        assert not lock_files._made(tmp_path, 3)
        assert names(tmp_path) == ["3"]


def test_what_is_being_written_and_what_nfs_leaves_is_nobodys_yet(tmp_path):
    (tmp_path / "1").touch()
    (tmp_path / ".nfs0001").touch()
    with lock_file(tmp_path, wait=False) as held:
        assert not held
    (tmp_path / "1").write_text(f"{lock_files._place()} 1")
    with lock_file(tmp_path, wait=False) as held:
        assert not held


def test_a_file_that_cannot_be_written_leaves_none(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "no space left")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdopen", full)
        with pytest.raises(OSError, match="no space left"), lock_file(tmp_path):
            pytest.fail("not held")
    assert names(tmp_path) == []


def test_the_folder_may_go_while_the_lock_is_held(tmp_path):
    with lock_file(tmp_path / "lock"):
        (tmp_path / "lock" / "1").unlink()
        (tmp_path / "lock").rmdir()
    assert names(tmp_path) == []


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A lock whose owner is on another machine, and a clock that a pause moves on.

    Calls what is in the list at each pause; returns the seconds that have gone.
    """
    (tmp_path / "1").write_text("another/pid:[1] 1 1\n")
    gone, calls = [0.0], []

    def sleep(_):
        gone[0] += 1
        for call in calls:
            call()

    monkeypatch.setattr(lock_files, "monotonic", lambda: gone[0])
    monkeypatch.setattr(lock_files, "sleep", sleep)
    return gone, calls


def aged(path, seconds):
    then = path.stat().st_mtime_ns - int(seconds * 1e9)
    os.utime(path, ns=(then, then))


def test_an_owner_elsewhere_that_is_silent_for_long_is_taken_over(elsewhere, tmp_path):
    gone, _ = elsewhere
    with lock_file(tmp_path) as held:
        assert held
        assert names(tmp_path) == ["2"]
    assert lock_files.SILENCE < gone[0] < lock_files.SILENCE + 5


def test_one_that_gives_signs_of_life_is_waited_for(elsewhere, tmp_path):
    gone, calls = elsewhere
    own = tmp_path / "1"

    def work():
        if gone[0] % 50 == 0:
            aged(own, 1)
        if gone[0] == 1000:
            own.rename(tmp_path / "1.free")

    calls.append(work)
    with lock_file(tmp_path) as held:
        assert held
    assert gone[0] == 1000


def test_who_does_not_wait_watches_only_an_owner_that_seems_silent(elsewhere, tmp_path):
    gone, calls = elsewhere
    with lock_file(tmp_path, wait=False) as held:
        assert not held
    assert gone[0] == 0
    own = tmp_path / "1"
    # By a clock far behind it seems silent, and is not.
    aged(own, 10_000)
    calls.append(lambda: aged(own, 1))
    calls.append(lambda: gone[0] == 500 and os.utime(own))
    with lock_file(tmp_path, wait=False) as held:
        assert not held
    assert gone[0] == 500
    calls.clear()
    aged(own, 10_000)
    with lock_file(tmp_path, wait=False) as held:
        assert held


def test_an_owner_touches_its_file(tmp_path, monkeypatch):
    monkeypatch.setattr(lock_files, "HEARTBEAT", 0.01)
    touched = threading.Event()
    real = os.utime

    def utime(path, *rest, **options):
        real(path, *rest, **options)
        if str(path) == str(tmp_path / "1"):
            touched.set()

    monkeypatch.setattr(os, "utime", utime)
    with lock_file(tmp_path):
        assert touched.wait(60)
