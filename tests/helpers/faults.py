"""A file system that fails: the n-th write, flush, rename or opening for writing below a folder.

Faults are put where Python asks the system, so that whatever library writes meets them.
"""

from __future__ import annotations

import builtins
import errno
import fcntl
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

KINDS = (errno.ENOSPC, errno.EIO, errno.EACCES)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Faults:
    """Counts the operations below ``folder``; the one numbered ``fail_at`` fails with ``code``."""

    def __init__(self, folder: Path, fail_at: int | None, code: int) -> None:
        self.folder = os.path.realpath(folder)
        self.fail_at = fail_at
        self.code = code
        self.count = 0
        self.failed = ""

    def step(self, what: str, path: Any) -> None:
        """One more operation."""
        if not isinstance(path, str | bytes | os.PathLike):
            return
        name = os.path.abspath(os.fsdecode(path))  # noqa: PTH100
        if not name.startswith(self.folder):
            return
        if self.count == self.fail_at:
            self.count += 1
            self.failed = f"{what} {name}"
            raise OSError(self.code, os.strerror(self.code), name)
        self.count += 1


@contextmanager
def failing(folder: Path, fail_at: int | None, code: int = errno.ENOSPC) -> Iterator[Faults]:
    """Within it, operation ``fail_at`` below ``folder`` fails; None only counts them."""
    faults = Faults(folder, fail_at, code)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("replace", "rename", "mkdir", "link", "symlink"):
            patch.setattr(os, name, _stepping(faults, name, getattr(os, name)))
        patch.setattr(os, "fsync", _flushing(faults, os.fsync))
        patch.setattr(os, "open", _opening(faults, os.open))
        opener = _opening_files(faults, builtins.open)
        patch.setattr(builtins, "open", opener)
        patch.setattr(io, "open", opener)
        yield faults


def _stepping(faults: Faults, what: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def call(path: Any, *rest: Any, **options: Any) -> Any:
        faults.step(what, path)
        return real(path, *rest, **options)

    return call


def _flushing(faults: Faults, real: Callable[..., Any]) -> Callable[..., Any]:
    def call(handle: Any) -> Any:
        number = handle if isinstance(handle, int) else handle.fileno()
        faults.step("fsync", Path(f"/proc/self/fd/{number}").readlink())
        return real(handle)

    return call


def _opening(faults: Faults, real: Callable[..., Any]) -> Callable[..., Any]:
    def call(path: Any, flags: int, *rest: Any, **options: Any) -> Any:
        if flags & _WRITES:
            faults.step("open", path)
        return real(path, flags, *rest, **options)

    return call


def _opening_files(faults: Faults, real: Callable[..., Any]) -> Callable[..., Any]:
    def call(path: Any, mode: str = "r", *rest: Any, **options: Any) -> Any:
        if not set(mode) & set("wax+"):
            return real(path, mode, *rest, **options)
        faults.step("open", path)
        file = real(path, mode, *rest, **options)
        if isinstance(path, int) or "buffering" in options:
            return file
        return _File(faults, file)

    return call


class _File:
    """A file whose writes count; half of what a failing one was given is there."""

    def __init__(self, faults: Faults, file: Any) -> None:
        self.__dict__.update(faults=faults, file=file)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __enter__(self) -> _File:
        self.file.__enter__()
        return self

    def __exit__(self, *error: object) -> Any:
        return self.file.__exit__(*error)

    def __iter__(self) -> Any:
        return iter(self.file)

    def write(self, data: Any) -> Any:
        try:
            self.faults.step("write", self.file.name)
        except OSError:
            self.file.write(data[: len(data) // 2])
            self.file.flush()
            raise
        return self.file.write(data)


@contextmanager
def without_locks(code: int = errno.ENOLCK) -> Iterator[None]:
    """As on a network file system that knows no ``flock``."""

    def refused(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fcntl, "flock", refused)
        yield
