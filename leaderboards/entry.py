"""A record as it takes part in a comparison: under which conditions, in which column."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from harness.record import RunRecord
from harness.results import Metric
from harness.spec import DENSE
from leaderboards.published import beside
from leaderboards.tables import Calibration, Cell, Column, Unranked


class Protocol(NamedTuple):
    """What every number of a table has in common."""

    fingerprint: str
    dtype: str
    metric: str
    higher_is_better: bool


class Measurement(NamedTuple):
    """What every number of a column has in common."""

    task: str
    fingerprint: str
    options: str


@dataclass(frozen=True)
class Entry:
    """A complete, unlimited record without its bulk, and its headline metric."""

    record: RunRecord
    metric: Metric
    label: str

    @property
    def dense(self) -> bool:
        """Whether this is a reference, not a compressed model."""
        return self.record.spec.method.name == DENSE

    @property
    def protocol(self) -> Protocol:
        """The conditions that decide the table."""
        record, metric = self.record, self.metric
        return Protocol(
            record.model.fingerprint, record.spec.dtype, metric.name, metric.higher_is_better
        )

    @cached_property
    def measurement(self) -> Measurement:
        """What was measured, on what."""
        task = self.record.spec.task
        options = json.dumps(task.model_dump(mode="json")["options"], sort_keys=True)
        return Measurement(task.name, self.record.data.fingerprint, options)

    @cached_property
    def calibration(self) -> Calibration | None:
        """None where the result depends on no calibration."""
        spec, facts = self.record.spec.calibration, self.record.calibration
        if self.dense or spec is None:
            return None
        fingerprint = facts.fingerprint if facts else ""
        return Calibration(**spec.model_dump(), fingerprint=fingerprint)

    @property
    def column(self) -> Column:
        """Where it stands in its table."""
        return Column(round(self.record.spec.ratio, 6), self.record.spec.task.name)

    @property
    def variant(self) -> str:
        """What tells two runs of one label apart, as text that sorts."""
        spec = self.record.spec.model_dump(mode="json")
        return json.dumps([spec["method"], spec["seed"], spec["model"]], sort_keys=True)

    @property
    def identity(self) -> str:
        """Equal for two runs only where they show the same in a table."""
        return self.record.run_id + self.metric.model_dump_json()

    @property
    def cell(self) -> Cell:
        """The measured value; the paper's is for the task's own data only."""
        spec, metric = self.record.spec, self.metric
        return Cell(
            value=metric.value,
            stderr=metric.stderr,
            n=metric.n,
            unit=metric.unit,
            metric=metric.name,
            run_id=self.record.run_id,
            published=None
            if spec.task.data is not None
            else beside(spec.model, self.label, spec.ratio, spec.task.name, metric.name),
        )


def examine(record: RunRecord) -> Entry | Unranked:
    """An entry for the tables, or why ``record`` cannot be compared."""
    spec = record.spec
    metrics = record.result.metrics if record.result else ()
    label = record.compression.label if record.compression else spec.method.name
    if record.status == "failed":
        reason = f"failed: {record.error or 'no reason given'}"
    elif spec.task.limit is not None:
        reason = f"limited to {spec.task.limit}"
    elif not metrics:
        reason = "no result"
    elif record.compression is None and spec.method.name != DENSE:
        reason = "does not say how it was compressed"
    else:
        return Entry(_without_bulk(record), metrics[0], label)
    return Unranked(spec.model, label, spec.ratio, spec.task.name, record.run_id, reason)


def _without_bulk(record: RunRecord) -> RunRecord:
    """No table shows samples or layers, and thousands of records would not fit with them."""
    return record.model_copy(update={"result": None, "compression": None})
