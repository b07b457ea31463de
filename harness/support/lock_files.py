"""Locks for file systems without ``flock``: files that only one process can make.

A lock is a folder of numbered files. Who finds the highest number free or abandoned makes the next
one, which the file system lets a single process do (``O_EXCL``, on NFS too), and has the lock; to
release it is to rename ``7`` to ``7.free``. The highest number never goes away, so whoever comes
late with what it saw before finds a number as high as its own beside it and stands back. Nothing
is ever taken out of another's hands, which is where simpler schemes let two owners in.

An owner on this machine is abandoned once its process has ended. One elsewhere is if its file,
which it touches every ``HEARTBEAT`` seconds, stays as it was for ``SILENCE`` seconds by the clock
of whoever watches: clocks of machines are not compared.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from time import monotonic, sleep

HEARTBEAT = 5.0
"""Seconds."""
SILENCE = 60.0
"""Seconds."""
PAUSE = 0.05
"""Seconds between two looks at a lock that another has."""
_FREE = ".free"


@contextmanager
def lock_file(folder: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock that ``folder`` stands for, which is made and stays.

    Args:
        folder: holds nothing else.
        wait: for whoever has it; else the block runs at once and is told that it is not held,
            but for an owner that seems to have been silent, which is watched first.

    Yields:
        Whether it is held.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    number = _claimed(folder, wait)
    if number is None:
        yield False
        return
    own = folder / str(number)
    ended = threading.Event()
    threading.Thread(target=_keep_touching, args=(own, ended), daemon=True).start()
    try:
        yield True
    finally:
        ended.set()
        with suppress(FileNotFoundError):  # the block may have removed the folder
            own.rename(own.with_suffix(_FREE))


@dataclass(frozen=True)
class _Sign:
    """What an owner shows of itself; ``changed`` moves with each of its touches."""

    number: int
    free: bool
    changed: int = 0
    owner: str = ""

    @property
    def ended(self) -> bool:
        """Whether it is known to be no more: a process of this machine that has ended."""
        if not self.owner.endswith("\n"):  # it is being written
            return False
        place, number, begin = self.owner.split()
        return place == _place() and begin != _begin(number)


def _claimed(folder: Path, wait: bool) -> int | None:
    """The number that is ours now, None if another has the lock and ``wait`` is False."""
    seen, since = None, monotonic()
    while True:
        sign = _highest(folder)
        if sign != seen:
            seen, since = sign, monotonic()
        if sign.free or sign.ended or monotonic() - since > SILENCE:
            if _made(folder, sign.number + 1):
                return sign.number + 1
        elif wait or _seems_silent(folder, sign):
            sleep(PAUSE)
        else:
            return None


def _made(folder: Path, number: int) -> bool:
    """Make the file of ``number``; whether that is the lock."""
    own = folder / str(number)
    try:
        handle = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return False
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"{_place()} {os.getpid()} {_begin('self')}\n")
    except OSError:
        own.unlink(missing_ok=True)
        raise
    others = [path for path in _numbered(folder) if path != own]
    if any(_number(path) >= number for path in others):
        own.unlink(missing_ok=True)
        return False
    for path in others:
        path.unlink(missing_ok=True)
    return True


def _highest(folder: Path) -> _Sign:
    paths = _numbered(folder)
    number = max(map(_number, paths), default=0)
    own = folder / str(number)
    if not number or own.with_suffix(_FREE) in paths:
        return _Sign(number, free=True)
    try:
        with own.open(encoding="utf-8") as file:  # opened: NFS then asks the server
            return _Sign(number, False, os.fstat(file.fileno()).st_mtime_ns, file.read())
    except FileNotFoundError:  # released or taken over just now
        return _Sign(number, free=False)


def _numbered(folder: Path) -> list[Path]:
    """Not what NFS leaves of an open file that was removed."""
    return [path for path in folder.iterdir() if path.stem.isdecimal()]


def _number(path: Path) -> int:
    return int(path.stem)


def _seems_silent(folder: Path, sign: _Sign) -> bool:
    """By the clock of the file system, which touches and the folder go by alike."""
    os.utime(folder)
    return folder.stat().st_mtime_ns - sign.changed > SILENCE * 1e9


def _keep_touching(path: Path, ended: threading.Event) -> None:
    while not ended.wait(HEARTBEAT):
        with suppress(OSError):  # a server that is away for a while
            os.utime(path)


@cache
def _place() -> str:
    """Where process numbers mean the same."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return uuid.uuid4().hex


def _begin(process: str) -> str:
    """When that process began; ``-`` for one that has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2]
    except OSError:
        return "-"
    state, *others = fields.split()
    return "-" if state == "Z" else others[18]
