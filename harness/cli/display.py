"""What a person sees: progress bars while it works, a table at the end."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
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

from harness.progress import Tracker, silent
from harness.record import RunRecord
from harness.spec import DENSE

T = TypeVar("T")


def tracker() -> Tracker:
    """Progress bars on standard error when it is a terminal, else nothing."""
    return _bars if sys.stderr.isatty() else silent


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


def result_table(records: Sequence[RunRecord]) -> Table:
    """One row a record: metric with standard error, ratios, size, time, memory."""
    table = Table(title=f"{records[0].spec.model}, {records[0].spec.dtype}" if records else None)
    table.add_column("method", overflow="fold")
    for heading in (
        "task", "metric", "value", "± s.e.", "ratio asked", "layers", "model", "parameters",
        "MB", "seconds", "peak MB",
    ):  # fmt: skip
        table.add_column(heading, justify="left" if heading in ("task", "metric") else "right")
    for record in records:
        table.add_row(*_row(record))
    return table


def _row(record: RunRecord) -> list[str]:
    done = record.compression
    label = done.label if done else record.spec.method.name
    size = (done.parameters, done.bytes) if done else (record.model.parameters, record.model.bytes)
    if record.result is None:
        outcome = ["failed", record.error or "", ""]
    else:
        metric = record.result.metrics[0]
        spread = "" if metric.stderr is None else f"{metric.stderr:.3g}"
        outcome = [metric.name, f"{metric.value:.4g}", spread]
    dense = record.spec.method.name == DENSE
    return [
        label,
        record.spec.task.name,
        *outcome,
        "" if dense else f"{record.spec.ratio:g}",
        f"{done.ratio_layers:.4f}" if done else "",
        f"{done.ratio_model:.4f}" if done else "",
        f"{size[0] / 1e6:.1f}M",
        f"{size[1] / 1e6:.1f}",
        f"{sum(record.timings.values()):.1f}",
        f"{max(record.peak_memory.values()) / 1e6:.0f}",
    ]
