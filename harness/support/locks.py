"""Locks among processes, also among several commands on one folder of records.

A lock is ``flock`` on an open file: the kernel releases it when its owner ends, however that
happens, so a dead owner's lock needs no clean-up and no time limit. The files stay: removing
one would let two processes lock two files of the same name.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import InfrastructureError


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock that the file ``path`` stands for; the file is made.

    Args:
        path: only ever used as a lock.
        wait: for whoever has it; else the block runs at once and is told that it is not held.

    Yields:
        Whether it is held.

    Raises:
        InfrastructureError: the folder cannot be written or its file system has no locks.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    except OSError as error:
        raise _no_lock(path, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held = False
        except OSError as error:
            raise _no_lock(path, error) from error
        else:
            held = True
        yield held


def _no_lock(path: Path, error: OSError) -> InfrastructureError:
    return InfrastructureError(
        f"cannot lock {path} ({error.strerror or error}); make the folder writable, free some "
        "space, or choose an --output on a local disk"
    )
