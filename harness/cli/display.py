"""What a person sees: progress bars while it works, a table at the end."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from logging import ERROR, getLogger
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from harness.records.record import RunRecord
from harness.records.spec import DENSE
from harness.support.markdown import visible
from harness.support.progress import Tracker, silent

T = TypeVar("T")

COLUMNS = (
    "method", "task", "metric", "value", "± s.e.", "ratio asked", "layers", "model", "parameters",
    "MB", "seconds", "peak MB",
)  # fmt: skip
ESSENTIAL = ("method", "task", "metric", "value", "± s.e.", "ratio asked", "layers")


class _Console(Console):
    """Leaves it to ``main`` what becomes of a pipe whose reader has gone."""

    def on_broken_pipe(self) -> None:
        """Instead of exit code 1, which would read as a gate's verdict."""
        raise BrokenPipeError


def console(width: int) -> Console:
    """Standard output, as wide as the terminal or ``width``; brackets are no markup."""
    width_if_piped = None if sys.stdout.isatty() else width
    return _Console(width=width_if_piped, markup=False, emoji=False, highlight=False)


def tracker() -> Tracker:
    """Progress bars on standard error when it is a terminal, else nothing."""
    return _bars if sys.stderr.isatty() else silent


def quiet_libraries() -> None:
    """One progress display: ours. Downloads may show theirs on a terminal."""
    from datasets import disable_progress_bars  # noqa: PLC0415
    from transformers.utils import logging  # noqa: PLC0415

    logging.disable_progress_bar()
    getLogger("accelerate.big_modeling").setLevel(ERROR)  # tells what --offload asked for
    if not sys.stderr.isatty():
        disable_progress_bars()


def _bars(items: Iterable[T], description: str, total: int) -> Iterator[T]:
    with Progress(
        TextColumn("{task.description:<28}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        yield from progress.track(items, total=total, description=description)


def result_table(records: Sequence[RunRecord], width: int) -> Table:
    """One row a record; the full story needs 150 characters of ``width``."""
    rows = [_row(record) for record in records]
    table = Table(title=f"{records[0].spec.model}, {records[0].spec.dtype}" if records else None)
    headings = [heading for heading in COLUMNS if width >= 150 or heading in ESSENTIAL]
    for heading in headings:
        number = heading not in ("method", "task", "metric")
        table.add_column(
            heading, justify="right" if number else "left", no_wrap=number, overflow="fold"
        )
    for row in rows:
        table.add_row(*(row[heading] for heading in headings))
    return table


def cautions(records: Sequence[RunRecord]) -> Iterator[str]:
    """What was seen during each measurement that a reader of its number must know, a line each."""
    for record in records:
        for caution in record.result.cautions if record.result else ():
            yield visible(f"{record.title}: {caution}")


def _row(record: RunRecord) -> dict[str, str]:
    compression = record.compression
    size = (
        (compression.parameters, compression.bytes)
        if compression
        else (record.model.parameters, record.model.bytes)
    )
    if record.result is None:
        outcome = {"metric": f"failed: {record.error}", "value": "", "± s.e.": ""}
    else:
        metric = record.result.metrics[0]
        spread = "" if metric.stderr is None else f"{metric.stderr:.3g}"
        outcome = {"metric": metric.name, "value": f"{metric.value:.4g}", "± s.e.": spread}
    return outcome | {
        "method": compression.label if compression else record.spec.method.name,
        "task": record.spec.task.name,
        "ratio asked": "" if record.spec.method.name == DENSE else f"{record.spec.ratio:g}",
        "layers": f"{compression.ratio_layers:.4f}" if compression else "",
        "model": f"{compression.ratio_model:.4f}" if compression else "",
        "parameters": f"{size[0] / 1e6:.1f}M",
        "MB": f"{size[1] / 1e6:.1f}",
        "seconds": f"{sum(record.timings.values()):.1f}",
        "peak MB": f"{max(record.peak_memory.values()) / 1e6:.0f}",
    }
