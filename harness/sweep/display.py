"""What a person sees of a sweep: a live table on a terminal, else a line for each update."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.live import Live
from rich.table import Table
from rich.text import Text

from harness.support.console import console
from harness.support.terminal import one_line
from harness.sweep.running import CellUpdate, Show

AROUND = 6
"""Lines of a terminal that are not for cells: frame, heading, summary, prompt."""


@contextmanager
def display(titles: Sequence[str]) -> Iterator[Show]:
    """Give a function to call with every update of the cells called ``titles``."""
    if not sys.stderr.isatty():
        yield lambda update: _line(titles, update)
        return
    screen = console(stderr=True)
    board = Board(titles)
    with Live(
        get_renderable=lambda: board.table(max(1, screen.height - AROUND)),
        console=screen,
        refresh_per_second=2,
    ):

        def show(update: CellUpdate) -> None:
            for notice in update.notices:
                screen.print(Text(one_line(f"{titles[update.position]}: {notice}")))
            board.show(update)

        yield show


def _line(titles: Sequence[str], update: CellUpdate) -> None:
    if update.state == "pending":
        return
    name = f"[{update.position + 1}/{len(titles)}] {titles[update.position]}"
    more = update.error or update.value
    lines = [*update.notices, f"{update.state}: {more}" if more else update.state]
    sys.stderr.write("".join(f"{name}: {line}\n" for line in lines))
    sys.stderr.flush()


class Board:
    """The state of every cell and for how long it has been, or was, at work."""

    def __init__(self, titles: Sequence[str]) -> None:
        self._titles = titles
        self._updates = [CellUpdate(position, "pending") for position in range(len(titles))]
        self._started: dict[int, float] = {}
        self._took: dict[int, float] = {}

    def show(self, update: CellUpdate) -> None:
        """Take in an update; the screen follows by itself."""
        now = time.monotonic()
        if update.state.startswith("running"):
            self._started[update.position] = now
        elif update.position in self._started:
            self._took[update.position] = now - self._started.pop(update.position)
        self._updates[update.position] = update

    def table(self, height: int) -> Table:
        """The board as it stands in at most ``height`` rows; called from the screen's thread."""
        counts = Counter(update.state.partition(" ")[0] for update in self._updates)
        title = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
        table = Table("cell", "state", "value", "seconds", title=title, title_justify="left")
        for position in self._rows(height):
            update = self._updates[position]
            start = self._started.get(position)
            took = self._took.get(position) if start is None else time.monotonic() - start
            table.add_row(
                Text(one_line(self._titles[position])),
                update.state,
                Text(one_line(update.error or update.value), overflow="ellipsis", no_wrap=True),
                "" if took is None else f"{took:.0f}",
            )
        return table

    def _rows(self, height: int) -> list[int]:
        """What matters most, in the order of the recipe: at work, failed, to come, done."""
        weight = {"running": 0, "failed": 1, "incomplete": 1, "busy": 2, "pending": 3}

        def importance(position: int) -> int:
            return weight.get(self._updates[position].state.partition(" ")[0], 4)

        return sorted(sorted(range(len(self._titles)), key=importance)[:height])
