"""How long work looks: on a terminal a bar for each phase, else a plain line."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from harness.support.console import console
from harness.support.terminal import one_line

T = TypeVar("T")


class ShownProgress:
    """The progress of one command on standard error.

    ``track`` shows a phase; ``announce`` says which cell of how many begins, and, once one is
    done, when about all will be: as long as those before took on average.
    """

    def __init__(self) -> None:
        self._cell = ""
        self._started: float | None = None

    def announce(self, title: str, position: int, total: int) -> None:
        """See ``harness.support.progress.Announce``."""
        now = time.monotonic()
        if self._started is None:
            self._started = now
        self._cell = f"[{position}/{total}] "
        left = (now - self._started) / max(position - 1, 1) * (total - position + 1)
        when = f" (all done in about {duration(left)})" if position > 1 else ""
        sys.stderr.write(f"{self._cell}{one_line(title)}{when}\n")

    def track(self, items: Iterable[T], description: str, total: int) -> Iterator[T]:
        """See ``harness.support.progress.Tracker``."""
        if not sys.stderr.isatty():
            sys.stderr.write(f"{self._cell}{one_line(description)}\n")
            yield from items
            return
        with Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console(stderr=True),
            expand=True,
            transient=True,
        ) as progress:
            yield from progress.track(items, total=total, description=one_line(description))


def duration(seconds: float) -> str:
    """As a person says it: ``40 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
