"""One worker at a cell, also among several sweeps on one folder of records.

The lock is ``flock`` on an open file: the kernel releases it when its owner ends, however that
happens, so a dead owner's lock needs no clean-up and no time limit. The files stay: removing
one would let two processes lock two files of the same name.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import InfrastructureError

FOLDER = ".locks"


@contextmanager
def cell_locked(output: Path, run_id: str) -> Iterator[None]:
    """Wait for the lock of a cell and hold it.

    Raises:
        InfrastructureError: the folder cannot be written or its file system has no locks.
    """
    path = output / FOLDER / f"{run_id}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    except OSError as error:
        raise _no_lock(path, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            raise _no_lock(path, error) from error
        yield


def _no_lock(path: Path, error: OSError) -> InfrastructureError:
    return InfrastructureError(
        f"cannot lock {path} ({error.strerror or error}); make the folder writable, free some "
        "space, or choose an --output on a local disk"
    )
