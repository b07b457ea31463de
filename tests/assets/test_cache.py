from __future__ import annotations

import errno
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from harness.assets import hashing
from harness.assets.cache import cache_root
from harness.assets.entries import cached
from harness.assets.hashing import file_sha256, texts_sha256
from harness.errors import InfrastructureError


def slow_build(folder: Path) -> None:
    (folder / "a").write_text("1")
    time.sleep(0.3)
    (folder / "b").write_text(str(os.getpid()))


def whole_build(folder: Path) -> None:
    (folder / "whole").write_text("x")


def build_in_a_process(results: multiprocessing.Queue[tuple[str, str]]) -> None:
    entry = cached("things", "one", slow_build, "a test")
    results.put(((entry / "a").read_text(), (entry / "b").read_text()))


def test_root_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "mine"))
    assert cache_root() == tmp_path / "mine"
    monkeypatch.delenv("HARNESS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root() == tmp_path / "xdg" / "harness"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_root() == tmp_path / ".cache" / "harness"


def test_processes_that_want_one_entry_get_one_whole_entry() -> None:
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[tuple[str, str]] = context.Queue()
    workers = [context.Process(target=build_in_a_process, args=(results,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    first, second = (results.get(timeout=60) for _ in workers)
    for worker in workers:
        worker.join()
    assert first == second


def test_a_failed_build_leaves_nothing_and_can_be_repeated(cache: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        cached("things", "one", fail, "a test")
    assert not [p for p in (cache / "things").iterdir() if p.is_dir()]
    entry = cached("things", "one", whole_build, "a test")
    assert sorted(p.name for p in entry.iterdir()) == [".manifest.json", "whole"]


def test_what_a_killed_builder_left_is_cleared(cache: Path) -> None:
    left = cache / "things" / ".one.partial"
    left.mkdir(parents=True)
    (left / "half").write_text("x")
    entry = cached("things", "one", whole_build, "a test")
    assert sorted(p.name for p in entry.iterdir()) == [".manifest.json", "whole"]


def test_a_full_disk_names_the_fix() -> None:
    def fill(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(folder / "x"))

    with pytest.raises(InfrastructureError, match=r"no space left .* HARNESS_CACHE"):
        cached("things", "one", fill, "a test")


@pytest.mark.parametrize("place", ["file", "/proc/nowhere"])
def test_an_unwritable_cache_names_the_fix(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / place))
    with pytest.raises(InfrastructureError, match=r"cannot be written .* HARNESS_CACHE"):
        cached("things", "one", lambda _: None, "a test")


def test_trouble_elsewhere_is_not_blamed_on_the_cache() -> None:
    def read(_: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/elsewhere/model.gguf")

    with pytest.raises(PermissionError):
        cached("things", "one", read, "a test")


def test_a_file_is_hashed_again_only_when_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"abc")
    first = file_sha256(file)
    with monkeypatch.context() as patch:
        patch.setattr(hashing, "content_sha256", lambda _: pytest.fail("read again"))
        assert file_sha256(file) == first
    file.write_bytes(b"abd")
    assert file_sha256(file) != first


def test_a_broken_memo_is_ignored(tmp_path: Path, cache: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"abc")
    first = file_sha256(file)
    for memo in (cache / "hashes").iterdir():
        memo.write_text("{")
    assert file_sha256(file) == first


def test_the_boundaries_of_texts_count() -> None:
    assert texts_sha256(["ab", "c"]) != texts_sha256(["a", "bc"])
    assert texts_sha256(["abc", ""]) != texts_sha256(["abc"])
