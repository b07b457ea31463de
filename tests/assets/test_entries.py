"""Entries of the cache: what is damaged, half built or fought over never serves."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.assets import entries, inventory
from harness.assets.entries import cached
from harness.cli.main import main
from harness.errors import AssetError, InfrastructureError, UsageError
from harness.support import locks

BUILDER = """
import sys, time
from pathlib import Path
from harness.assets.entries import cached

def build(folder):
    (folder / "half").write_text("x")
    while not Path(sys.argv[1]).exists():
        time.sleep(0.01)

cached("models", "one", build, "a model")
"""


def build(folder: Path) -> None:
    (folder / "inside").mkdir()
    (folder / "inside" / "weights").write_bytes(b"0123456789")
    (folder / "config").write_text("{}")


def entry(key: str = "one") -> Path:
    return cached("models", key, build, f"model {key}")


def state(key: str = "one") -> str:
    return next(entry.state for entry in inventory.inventory() if entry.key == key)


@pytest.fixture
def builder(cache: Path, tmp_path: Path) -> Callable[[], subprocess.Popen[bytes]]:
    """Start a process that builds ``models/one`` until the file ``go`` appears."""

    def start() -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-c", BUILDER, str(tmp_path / "go")])
        while not (cache / "models" / ".one.partial" / "half").exists():
            assert process.poll() is None
            time.sleep(0.01)
        return process

    return start


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda folder: (folder / "inside" / "weights").write_bytes(b"01234"),
    "altered": lambda folder: (folder / "inside" / "weights").write_bytes(b"0123x56789"),
    "missing": lambda folder: (folder / "config").unlink(),
    "more": lambda folder: (folder / "chat_template.jinja").write_text("x"),
    "no manifest": lambda folder: (folder / ".manifest.json").unlink(),
    "half a manifest": lambda folder: os.truncate(folder / ".manifest.json", 30),
    "a link": lambda folder: (
        (folder / "config").rename(folder.parents[2] / "config"),
        (folder / "config").symlink_to(folder.parents[2] / "config"),
    ),
}


def test_the_list_of_files_is_as_earlier_versions_wrote_and_read_it() -> None:
    listed = json.loads((entry() / ".manifest.json").read_text())
    assert listed.keys() == {"source", "made", "files"}
    assert listed["files"] == {
        "config": {"size": 2, "sha256": hashlib.sha256(b"{}").hexdigest()},
        "inside/weights": {"size": 10, "sha256": hashlib.sha256(b"0123456789").hexdigest()},
    }


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_entry_is_built_again_with_a_notice(
    damage: Callable[[Path], object], caplog: pytest.LogCaptureFixture, capsys
) -> None:
    damage(entry())
    assert main(["cache", "verify"]) == 1
    assert "models/one" in capsys.readouterr().out
    assert state("one") != "whole" or damage is DAMAGES["altered"]
    again = entry()
    assert (again / "inside" / "weights").read_bytes() == b"0123456789"
    assert (again / "config").read_text() == "{}"
    (notice,) = caplog.messages
    outdated = damage is DAMAGES["no manifest"]
    assert notice.startswith(
        "the cached copy of model one was made again; it was "
        + ("outdated: an earlier version left no list" if outdated else "damaged: ")
    )
    assert main(["cache", "verify"]) == 0
    entry()
    assert len(caplog.messages) == 1


def test_damage_that_cannot_be_mended_is_an_error_and_stays_to_be_seen(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(_: Path) -> None:
        raise AssetError("cannot fetch it; get it elsewhere")

    (entry() / "config").unlink()
    with pytest.raises(AssetError, match=r"copy of x is damaged: config is missing; it cannot"):
        cached("models", "one", fail, "x")
    assert caplog.messages == []
    assert state() == "damaged: config is missing"


def test_a_whole_entry_needs_neither_a_lock_nor_room(monkeypatch: pytest.MonkeyPatch) -> None:
    made = entry()

    def read_only(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(made))

    monkeypatch.setattr("harness.assets.hashing.write_file", read_only)
    monkeypatch.setattr(entries, "entry_locked", lambda *_: pytest.fail("locked"))
    assert entry() == made


def test_a_damaged_entry_of_a_read_only_cache_names_the_fix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = entry()
    (made / "config").unlink()
    monkeypatch.setattr(
        Path, "mkdir", lambda self, *_, **__: (_ for _ in ()).throw(read_only_error(self))
    )
    with pytest.raises(InfrastructureError, match=r"cannot be written .* HARNESS_CACHE"):
        entry()


def read_only_error(path: Path) -> OSError:
    return OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))


def test_a_disk_that_fills_up_while_rebuilding_keeps_what_is_there(cache: Path) -> None:
    def fill(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(folder / "x"))

    made = entry()
    (made / "config").unlink()
    with pytest.raises(InfrastructureError, match="no space left"):
        cached("models", "one", fill, "x")
    assert (made / "inside" / "weights").is_file()
    assert [path.name for path in (cache / "models").glob(".*.partial")] == []


def test_a_disk_that_fills_up_at_the_last_step_keeps_what_is_there(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (entry() / "config").unlink()
    rename = Path.rename

    def fill(self: Path, to: Path) -> Path:
        if self.name.endswith(".partial"):
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return rename(self, to)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fill)
        with pytest.raises(InfrastructureError, match="no space left"):
            entry()
    assert state() == "damaged: config is missing"
    assert sorted(path.name for path in (cache / "models").iterdir()) == [".one.lock", "one"]
    entry()
    assert state() == "whole"


def test_a_killed_build_is_seen_and_built_again(
    builder: Callable[[], subprocess.Popen[bytes]], caplog: pytest.LogCaptureFixture
) -> None:
    process = builder()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert state() == "unfinished"
    assert sorted(path.name for path in entry().iterdir()) == [".manifest.json", "config", "inside"]
    assert state() == "whole"
    assert caplog.messages == []


def test_what_killed_builds_left_goes_with_any_removal_but_no_build_is_disturbed(
    builder: Callable[[], subprocess.Popen[bytes]], cache: Path, tmp_path: Path, capsys
) -> None:
    other = entry("other")
    left = cache / "models" / ".dead.partial"
    left.mkdir()
    (left / "half").write_text("x")
    process = builder()
    assert main(["cache", "rm", "--all"]) == 3
    assert "models/one is being made by another process" in capsys.readouterr().err
    assert not other.exists()
    assert not left.exists()
    entry("other")
    assert main(["cache", "rm", "oth"]) == 0
    (tmp_path / "go").write_text("")
    assert process.wait() == 0
    assert state() == "whole"


def test_two_processes_that_find_one_damaged_entry_build_it_once(
    builder: Callable[[], subprocess.Popen[bytes]],
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (entry() / "config").unlink()
    process = builder()
    flock = locks.fcntl.flock

    def then(*arguments: object) -> None:
        (tmp_path / "go").write_text("")
        flock(*arguments)

    monkeypatch.setattr(locks.fcntl, "flock", then)
    made = cached("models", "one", lambda _: pytest.fail("built twice"), "x")
    assert (made / "half").read_text() == "x"
    assert process.wait() == 0


@pytest.mark.parametrize("way", [["--all"], ["--kind", "models"], ["one"], ["models/one"]])
def test_removal_follows_no_link(way: list[str], tmp_path: Path, cache: Path, capsys) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("x")
    (entry() / "inside" / "link").symlink_to(precious)
    (cache / "models" / "one-too").symlink_to(precious)
    (cache / "models" / ".two.partial").symlink_to(precious)
    assert main(["cache", "rm", *way]) == 0
    assert (precious / "file").read_text() == "x"
    assert not (cache / "models" / "one").exists()
    assert not (cache / "models" / ".two.partial").is_symlink()
    assert (cache / "models" / "one-too").is_symlink() == (way[0] not in {"--all", "--kind"})


def test_a_folder_of_the_cache_that_leads_out_is_refused(
    tmp_path: Path, cache: Path, capsys
) -> None:
    (tmp_path / "elsewhere" / "one").mkdir(parents=True)
    cache.mkdir()
    (cache / "models").symlink_to(tmp_path / "elsewhere")
    assert main(["cache", "rm", "--all"]) == 2
    assert "leads out of the cache" in capsys.readouterr().err
    assert (tmp_path / "elsewhere" / "one").is_dir()


def test_what_others_put_there_is_neither_listed_nor_removed(cache: Path, capsys) -> None:
    entry()
    (cache / "notes").mkdir()
    (cache / "notes" / "mine.txt").write_text("x")
    assert main(["cache", "rm", "--all"]) == 0
    assert "notes" not in capsys.readouterr().out
    assert (cache / "notes" / "mine.txt").is_file()


def test_an_entry_is_found_by_what_is_clear() -> None:
    for key in ("abc1", "abc2", "abc"):
        entry(key)
    listed = inventory.inventory()
    for name in ("abc1", "models/abc1", "model abc1"):
        assert inventory.find(listed, name).key == "abc1"
    assert inventory.find(listed, "abc").key == "abc"
    with pytest.raises(UsageError, match="may be any of models/abc, models/abc1, models/abc2"):
        inventory.find(listed, "ab")
    for name in ("", "../abc1", "abc3"):
        with pytest.raises(UsageError, match="unknown cache entry"):
            inventory.find(listed, name)
