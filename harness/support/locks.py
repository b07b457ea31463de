"""Locks among processes, also among several commands on one folder of records.

A lock is ``flock`` on an open file or folder: the kernel releases it when its owner ends, however
that happens, so a dead owner's lock needs no clean-up and no time limit. The files stay: removing
one would let two processes lock two files of the same name. On a file system without ``flock`` a
folder beside takes its place (see ``harness.support.lock_files``).
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from harness.errors import InfrastructureError
from harness.support.lock_files import lock_file

ABSENT = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What a file system without ``flock`` says."""


@contextmanager
def flocked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of ``path``, a folder or a file, which is made.

    Args:
        path: what is locked.
        wait: for whoever has it; else the block runs at once and is told that it is not held.

    Yields:
        Whether it is held.

    Raises:
        OSError: it cannot be opened or locked.
    """
    how = os.O_RDONLY if path.is_dir() else os.O_WRONLY | os.O_CREAT
    with ExitStack() as stack:
        handle = os.open(path, how, 0o666)
        stack.callback(os.close, handle)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held = False
        except OSError as error:
            if error.errno not in ABSENT:
                raise
            held = stack.enter_context(lock_file(_beside(path), wait=wait))
        else:
            held = True
        yield held


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name.lstrip('.')}.held")


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock that the file ``path`` stands for; it is made, with its folder.

    Args:
        path: only ever used as a lock.
        wait: as in ``flocked``.

    Yields:
        Whether it is held.

    Raises:
        InfrastructureError: the folder cannot be written.
    """
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            held = stack.enter_context(flocked(path, wait=wait))
        except OSError as error:
            raise InfrastructureError(
                f"cannot lock {path} ({error.strerror or error}); make the folder writable, free "
                "some space, or choose an --output on a local disk"
            ) from error
        yield held
