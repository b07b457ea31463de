"""A record as it takes part in a comparison: under which conditions, in which column."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from harness.plugin import Metric, RunRecord
from harness.records.spec import DENSE
from leaderboards.numbers import QUESTIONS
from leaderboards.published import beside
from leaderboards.tables import BoardCell, Column, TableCalibration, Unranked

if TYPE_CHECKING:
    from harness.records.observations import Observations

LANGUAGE = "language"
"""The scope that a label does not name."""

Values = tuple[float, tuple[tuple[str, float], ...]]
"""The value of the whole and of each slice."""


def set_apart(record: RunRecord, label: str, cause: str, reason: str) -> Unranked:
    """``record``, which does not rank."""
    spec = record.spec
    return Unranked(spec.model, label, spec.ratio, spec.task.name, record.run_id, cause, reason)


class TableProtocol(NamedTuple):
    """What every number of a table has in common; ``task`` is empty where tasks share a table."""

    fingerprint: str
    dtype: str
    metric: str
    unit: str
    higher_is_better: bool
    task: str


class Measurement(NamedTuple):
    """What every number of a column has in common."""

    task: str
    fingerprint: str
    options: str


@dataclass(frozen=True)
class BoardEntry:
    """A complete, unlimited record without its bulk, its headline metric and that one's slices.

    ``evidence`` is what the metric and its slices are taken over, by slice.
    """

    record: RunRecord
    metric: Metric
    slices: tuple[Metric, ...]
    label: str
    evidence: Mapping[str | None, Observations]

    @property
    def dense(self) -> bool:
        """Whether this is a reference, not a compressed model."""
        return self.record.spec.method.name == DENSE

    @property
    def protocol(self) -> TableProtocol:
        """The conditions that decide the table."""
        record, metric = self.record, self.metric
        return TableProtocol(
            record.model.fingerprint,
            record.spec.dtype,
            metric.name,
            metric.unit,
            metric.higher_is_better,
            record.spec.task.name if metric.unit == QUESTIONS else "",
        )

    @property
    def scope(self) -> str | None:
        """Part of the model that is compressed, None for the dense model.

        The ratio is a share of that part, so that it means something else in each scope.
        """
        return None if self.dense else self.record.spec.scope

    @property
    def values(self) -> Values:
        """Everything that two runs of one cell agree or disagree on."""
        return self.metric.value, tuple((part.slice or "", part.value) for part in self.slices)

    @cached_property
    def measurement(self) -> Measurement:
        """What was measured, on what."""
        task = self.record.spec.task
        options = json.dumps(task.model_dump(mode="json")["options"], sort_keys=True)
        return Measurement(task.name, self.record.data.fingerprint, options)

    @cached_property
    def calibration(self) -> TableCalibration | None:
        """None where the result depends on no calibration."""
        spec, facts = self.record.spec.calibration, self.record.calibration
        done = self.record.compression
        if self.dense or spec is None or (done and not done.calibrated):
            return None
        fingerprint = facts.fingerprint if facts else ""
        return TableCalibration(**spec.model_dump(exclude={"seed"}), fingerprint=fingerprint)

    @property
    def seeds(self) -> tuple[int, int]:
        """Of the calibration (0 without one) and of the evaluation."""
        calibration = self.calibration and self.record.spec.calibration
        return (calibration.seed if calibration else 0, self.record.spec.seed)

    @property
    def column(self) -> Column:
        """Where it stands in its table."""
        return Column(round(self.record.spec.ratio, 6), self.record.spec.task.name)

    @property
    def variant(self) -> str:
        """What tells two runs of one label apart, their seeds aside, as text that sorts."""
        spec = self.record.spec.model_dump(mode="json")
        return json.dumps([spec["method"], spec["model"]], sort_keys=True)

    @property
    def identity(self) -> str:
        """Equal for two runs only where they show the same in a table."""
        metrics = (self.metric, *self.slices)
        return self.record.run_id + "".join(metric.model_dump_json() for metric in metrics)

    @property
    def cell(self) -> BoardCell:
        """The measured value and its slices."""
        return replace(self._cell(self.metric), slices=tuple(map(self._cell, self.slices)))

    def _cell(self, metric: Metric) -> BoardCell:
        return BoardCell(
            value=metric.value,
            stderr=metric.stderr,
            n=metric.n,
            unit=metric.unit,
            metric=metric.name,
            run_id=self.record.run_id,
            published=self._published(metric),
            interval=metric.interval,
            slice=metric.slice,
            macs=self._macs,
            evidence=self.evidence.get(metric.slice),
        )

    @property
    def _macs(self) -> int | None:
        done = self.record.compression
        return done.macs if done else self.record.model.macs

    def _published(self, metric: Metric) -> float | None:
        """The paper's value, which is for all of the task's own data."""
        spec, task = self.record.spec, self.record.spec.task
        if task.data is not None or task.options.get("subset", "full") != "full":
            return None
        return beside(spec.model, self.label, spec.ratio, task.name, metric.name, metric.slice)
