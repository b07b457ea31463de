"""What was there stays whole, whatever fails and whenever."""

from __future__ import annotations

import errno
import os
import resource
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from harness.errors import InfrastructureError
from harness.support.files import (
    cannot_write,
    file_aside,
    folder_aside,
    former_of,
    partial_of,
    write_failures_explained,
    write_file,
    write_files,
)

NAMES = ("board.md", "board.json", "figures/one.svg")
OLD = {name: f"old {name}" for name in NAMES}
NEW = {name: f"new {name}" * 500 for name in NAMES}
LAST_BEFORE_A_CHANGE = {"mkdir": 99, "open": 99, "chmod": 99, "fsync": len(NAMES), "replace": 1}
"""Which call of each step is the last before the first of several files changes."""
DAY = 24 * 3600


def content(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def filled(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def full_at(monkeypatch):
    """``full_at(step, number)``: what the step changes on its ``number``-th call, if it comes."""

    @contextmanager
    def full_at(step: str, number: int):
        owner = os if step == "fsync" else Path
        real = getattr(owner, step)
        calls = []

        def fail(*arguments, **named):
            calls.append(step)
            if len(calls) == number:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*arguments, **named)

        with monkeypatch.context() as patch:
            patch.setattr(owner, step, fail)
            yield lambda: len(calls) >= number

    return full_at


@contextmanager
def files_of_at_most(size: int):
    """A write beyond ``size`` bytes is cut there and fails."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("number", range(1, 8))
@pytest.mark.parametrize("step", LAST_BEFORE_A_CHANGE)
@pytest.mark.parametrize("there", [{}, OLD, {"board.md": "old"}], ids=["none", "all", "one"])
def test_several_files_are_old_or_new_but_never_a_part(there, step, number, full_at, tmp_path):
    folder = filled(tmp_path / "board", there)
    with full_at(step, number) as failed, suppress(OSError):
        write_files({folder / name: text for name, text in NEW.items()})
    after = content(tmp_path / "board")
    assert after.keys() <= NEW.keys()
    assert all(text in (there.get(name), NEW[name]) for name, text in after.items())
    assert there.keys() <= after.keys()
    if not failed():
        assert after == NEW
    elif number <= LAST_BEFORE_A_CHANGE[step]:
        assert after == there


@pytest.mark.parametrize("size", [0, 1, 20_000])
def test_a_write_that_is_cut_changes_nothing(size, tmp_path):
    folder = filled(tmp_path, OLD)
    contents = {folder / name: text for name, text in NEW.items()}
    contents[folder / NAMES[1]] = "x" * 100_000
    with files_of_at_most(size), pytest.raises(OSError, match="File too large") as caught:
        write_files(contents)
    assert caught.value.filename == str(folder / NAMES[1 if size == 20_000 else 0])
    assert content(folder) == OLD


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("step", ["fsync", "replace", "chmod", "touch", "mkdir"])
@pytest.mark.parametrize("there", [{}, {"w": "old"}], ids=["none", "old"])
def test_a_file_filled_by_a_library_is_old_or_new(there, step, number, full_at, tmp_path):
    folder = filled(tmp_path / "folder", there)
    with full_at(step, number) as failed, suppress(OSError), file_aside(folder / "w") as aside:
        aside.write_text("new")
    after = content(tmp_path)
    placed = not failed() or (step, number) == ("fsync", 2)  # that of the folder
    expected = {"w": "new"} if placed else there
    assert after == {f"folder/{name}": text for name, text in expected.items()}


@pytest.mark.parametrize("number", range(1, 8))
@pytest.mark.parametrize("step", ["fsync", "rename", "mkdir"])
@pytest.mark.parametrize("there", [{}, {"a": "old", "deep/b": "old"}], ids=["none", "old"])
def test_a_folder_is_old_or_new(there, step, number, full_at, tmp_path):
    target = tmp_path / "saved"
    filled(target, there)
    new = {"a": "new", "deep/c": "new"}
    with full_at(step, number) as failed, suppress(OSError), folder_aside(target) as aside:
        (aside / "deep").mkdir()
        (aside / "a").write_text("new")
        (aside / "deep" / "c").write_text("new")
    after = content(tmp_path)
    flushed = 4  # two files, two folders
    placed = not failed() or (step == "fsync" and number > flushed)
    expected = new if placed else there
    assert after == {f"saved/{name}": text for name, text in expected.items()} or (
        # All is in place but what was there before, which the next time removes.
        placed and failed() and content(target) == new
    )
    with folder_aside(target) as aside:
        (aside / "last").write_text("")
    assert content(tmp_path) == {"saved/last": ""}


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError])
def test_a_block_that_fails_leaves_what_was_there(failure, tmp_path):
    filled(tmp_path, {"file": "old", "folder/file": "old"})

    def fail(where: Path) -> None:
        where.write_text("half")
        raise failure

    with pytest.raises(failure), file_aside(tmp_path / "file") as aside:
        fail(aside)
    with pytest.raises(failure), folder_aside(tmp_path / "folder") as aside:
        fail(aside / "file")
    assert content(tmp_path) == {"file": "old", "folder/file": "old"}


def test_a_folder_that_was_moved_away_when_its_replacement_was_killed_is_put_back(tmp_path):
    target = tmp_path / "saved"
    filled(former_of(target), {"file": "old"})
    filled(partial_of(target), {"half": "new"})

    def stop(aside: Path) -> None:
        assert content(target) == {"file": "old"}
        assert list(aside.iterdir()) == []
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"), folder_aside(target) as aside:
        stop(aside)
    assert content(tmp_path) == {"saved/file": "old"}


def test_what_killed_processes_left_goes_after_a_day(tmp_path):
    def left(name: str, age: float) -> Path:
        path = tmp_path / name
        path.write_text("half")
        status = path.stat()
        os.utime(path, (status.st_atime - age, status.st_mtime - age))
        return path

    old = left(".other.json.01234567.harness.tmp", 2 * DAY)
    recent = left(".record.json.01234567.harness.tmp", DAY / 2)
    foreign = left(".record.json.01234567.tmp", 2 * DAY)
    write_file(tmp_path / "record.json", "{}")
    assert not old.exists()
    assert recent.exists()
    assert foreign.exists()
    assert [path.name for path in tmp_path.glob("*.json")] == ["record.json"]


def test_what_a_killed_process_left_of_one_file_goes_at_once(tmp_path):
    partial_of(tmp_path / "weights").write_text("half of much")
    with file_aside(tmp_path / "weights") as aside:
        aside.write_text("all")
    assert content(tmp_path) == {"weights": "all"}


def test_readers_see_whole_files_while_many_write(tmp_path):
    path = tmp_path / "record.json"
    write_file(path, "0" * 10_000)
    seen = []

    def write(digit: str) -> None:
        for _ in range(20):
            write_file(path, digit * 10_000)
            seen.append(path.read_text())

    writers = [threading.Thread(target=write, args=(digit,)) for digit in "12345678"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(seen) == 160
    assert all(len(text) == 10_000 and len(set(text)) == 1 for text in seen)
    assert content(tmp_path).keys() == {"record.json"}


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_are_those_of_a_new_file_or_of_the_one_that_is_there(mask, tmp_path):
    def by_library(path: Path, text: str) -> None:
        with file_aside(path) as aside:
            aside.unlink()
            os.close(os.open(aside, os.O_CREAT | os.O_WRONLY, 0o600))
            aside.write_text(text)

    before = os.umask(mask)
    try:
        for number, write in enumerate([write_file, by_library]):
            path = tmp_path / str(number)
            write(path, "new")
            assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
            path.chmod(0o640)
            write(path, "newer")
            assert stat.S_IMODE(path.stat().st_mode) == 0o640
            assert path.read_text() == "newer"
    finally:
        os.umask(before)


def test_a_file_that_may_not_be_written_is_not_replaced(tmp_path, monkeypatch):
    path = filled(tmp_path, {"gate.json": "kept"}) / "gate.json"
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write all
    with pytest.raises(PermissionError, match=r"gate\.json"):
        write_file(path, "new")
    with pytest.raises(PermissionError, match=r"gate\.json"), file_aside(path):
        pass
    assert content(tmp_path) == {"gate.json": "kept"}


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_its_target_is_written(there, tmp_path):
    target, link = tmp_path / "elsewhere" / "board.md", tmp_path / "board.md"
    target.parent.mkdir()
    if there:
        target.write_text("old")
    link.symlink_to(Path("elsewhere") / "board.md")
    write_file(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    with file_aside(link) as aside:
        aside.write_text("newer")
    assert link.is_symlink()
    assert content(tmp_path / "elsewhere") == {"board.md": "newer"}


WRITER = """
from pathlib import Path
from harness.support.files import write_files
import sys
write_files({Path(path): f"to {number}\\n" for number, path in enumerate(sys.argv[1:])})
"""


def write_in_another_process(*paths: object, **named) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WRITER, *map(str, paths)]
    return subprocess.run(command, text=True, check=False, stderr=subprocess.PIPE, **named)


def test_what_a_process_has_open_is_written_in_place(tmp_path):
    done = write_in_another_process("/dev/stdout", "/dev/fd/1", "/dev/null", stdout=subprocess.PIPE)
    assert (done.returncode, done.stdout) == (0, "to 0\nto 1\n")
    with (tmp_path / "log").open("a") as log:
        log.write("before\n")
        log.flush()
        inode = (tmp_path / "log").stat().st_ino
        done = write_in_another_process("/dev/stdout", stdout=log)
    assert done.returncode == 0
    assert (tmp_path / "log").stat().st_ino == inode
    assert (tmp_path / "log").read_text().endswith("to 0\n")
    assert content(tmp_path).keys() == {"log"}


def test_a_named_pipe_is_written_to(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE, text=True)
    write_file(tmp_path / "pipe", "through it")
    assert reader.communicate()[0] == "through it"
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_device_that_is_full_leaves_the_other_files_alone(tmp_path):
    filled(tmp_path, OLD)
    with pytest.raises(OSError, match="No space left") as caught:
        write_files({tmp_path / NAMES[0]: "new", Path("/dev/full"): "x"})
    assert caught.value.filename == "/dev/full"
    assert content(tmp_path) == OLD


def test_a_folder_in_the_place_of_a_file_leaves_the_others_alone(tmp_path):
    filled(tmp_path, OLD)
    with pytest.raises(IsADirectoryError, match="figures"):
        write_files({tmp_path / NAMES[0]: "new", tmp_path / "figures": "x"})
    assert content(tmp_path) == OLD


@pytest.mark.parametrize(
    ("code", "fix"),
    [
        (errno.ENOSPC, "free some space or choose another folder"),
        (errno.EDQUOT, "free some space or choose another folder"),
        (errno.EROFS, "make it writable or choose another folder"),
        (errno.EIO, "; choose another folder"),
    ],
)
def test_a_failure_is_one_line_that_names_the_file_and_the_fix(code, fix, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    path = tmp_path / "gate.json"
    with pytest.raises(InfrastructureError) as caught, write_failures_explained():
        write_file(path, "{}")
    message = str(caught.value)
    assert message.startswith(f"cannot write {path}: {os.strerror(code)}")
    assert message.endswith(fix)
    assert caught.value.exit_code == 3


def test_an_error_without_a_number_is_explained_too():
    assert "cannot write x: odd; choose" in str(cannot_write("x", OSError("odd")))
