"""What a person sees of records at the end of a run."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from logging import ERROR, getLogger

from harness.records.record import RunRecord
from harness.records.spec import DENSE
from harness.support.tables import Grid

COLUMNS = (
    "method", "task", "metric", "value", "± s.e.", "ratio asked", "layers", "model", "parameters",
    "MB", "seconds", "peak MB",
)  # fmt: skip
NUMBERS = COLUMNS[3:]


def quiet_libraries() -> None:
    """One progress display: ours. Downloads may show theirs on a terminal."""
    from datasets import disable_progress_bars  # noqa: PLC0415
    from transformers.utils import logging  # noqa: PLC0415

    logging.disable_progress_bar()
    getLogger("accelerate.big_modeling").setLevel(ERROR)  # tells what --offload asked for
    if not sys.stderr.isatty():
        disable_progress_bars()


def result_grid(records: Sequence[RunRecord]) -> Grid:
    """One row a record."""
    rows = [[row[heading] for heading in COLUMNS] for row in map(_row, records)]
    title = f"{records[0].spec.model}, {records[0].spec.dtype}" if records else ""
    return Grid(COLUMNS, rows, title, NUMBERS)


def cautions(records: Sequence[RunRecord]) -> Iterator[str]:
    """What was seen during each measurement that a reader of its number must know, a line each."""
    for record in records:
        for caution in record.result.cautions if record.result else ():
            yield f"{record.title}: {caution}"


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
