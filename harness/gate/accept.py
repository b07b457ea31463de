"""Take over what a change has made of the numbers, thresholds as they were."""

from __future__ import annotations

from collections.abc import Iterable

from harness.errors import UsageError
from harness.gate.baseline import Baseline, cell_key, sample_set, sample_set_name
from harness.gate.calibrate import draw_of, measured_fields
from harness.records.record import RunRecord


def accepted(baseline: Baseline, records: Iterable[RunRecord]) -> Baseline:
    """``baseline`` with the values of ``records`` in place of its own where there are some.

    Raises:
        UsageError: a record belongs to no cell, is not complete, or has another metric.
        NonFiniteError: a sample's value is NaN or infinite.
    """
    cells = {cell.key: cell for cell in baseline.cells}
    samples = dict(baseline.samples)
    for record in sorted(records, key=lambda record: (record.created, record.run_id)):
        old = cells.get(cell_key(record.spec))
        if old is None:
            raise UsageError(
                f"the baseline has no cell {record.title} as it was run for {record.run_id}; "
                "'harness gate calibrate' adds it"
            )
        draw = draw_of(record)
        if draw.observations.metric != old.metric:
            raise UsageError(
                f"{old.title} has the metric {draw.observations.metric} instead of {old.metric}, "
                "so its thresholds mean nothing; run 'harness gate calibrate'"
            )
        shared = sample_set(draw.observations)
        samples[sample_set_name(shared)] = shared
        cells[old.key] = old.model_copy(update=measured_fields(draw))
    used = {cell.samples for cell in cells.values()}
    return Baseline(
        false_alarm=baseline.false_alarm,
        samples={name: content for name, content in samples.items() if name in used},
        cells=tuple(cells.values()),
    )
