"""A folder for what the workers of one sweep share, gone when the sweep is."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from harness.support.locks import flocked, locked

PREFIX = ".sweep-"
OWNER = "owner"


@contextmanager
def shared_folder(output: Path) -> Iterator[Path]:
    """Make the folder, and remove those whose sweep was killed.

    Raises:
        InfrastructureError: ``output`` cannot be written.
    """
    with ExitStack() as stack:
        with locked(output / ".locks" / "shelf.lock"):
            for left in output.glob(f"{PREFIX}*"):
                _remove_if_abandoned(left)
            # A worker of a cluster may still write as it ends; the next sweep removes the rest.
            temporary = tempfile.TemporaryDirectory(
                prefix=PREFIX, dir=output, ignore_cleanup_errors=True
            )
            folder = Path(stack.enter_context(temporary))
            stack.enter_context(flocked(folder / OWNER))
        yield folder


def _remove_if_abandoned(folder: Path) -> None:
    # Its sweep may be ending just now.
    with suppress(FileNotFoundError), flocked(folder / OWNER, wait=False) as abandoned:
        if abandoned:
            shutil.rmtree(folder)
