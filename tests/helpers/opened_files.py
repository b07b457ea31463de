"""Which files are opened, by Python or by native code: Linux tells (inotify)."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OPEN, IS_FOLDER, NONBLOCK = 0x20, 0x40000000, 0o4000
HEAD = struct.Struct("iIII")


@contextmanager
def opened_below(*folders: Path) -> Iterator[set[Path]]:
    """The set of all files below ``folders`` that are opened meanwhile; filled at the end."""
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(NONBLOCK)
    assert watch >= 0, os.strerror(ctypes.get_errno())
    watched = {}
    for folder in folders:
        for each in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
            number = libc.inotify_add_watch(watch, os.fsencode(each), OPEN)
            assert number >= 0, os.strerror(ctypes.get_errno())
            watched[number] = each
    opened: set[Path] = set()
    try:
        yield opened
        opened.update(path for path in _events(watch, watched) if path.is_file())
    finally:
        os.close(watch)


def _events(watch: int, watched: dict[int, Path]) -> Iterator[Path]:
    while True:
        try:
            data = os.read(watch, 1 << 16)
        except BlockingIOError:
            return
        while data:
            number, mask, _, length = HEAD.unpack_from(data)
            name = data[HEAD.size : HEAD.size + length].rstrip(b"\0")
            data = data[HEAD.size + length :]
            if not mask & IS_FOLDER:
                yield watched[number] / os.fsdecode(name)
