"""From records of several calibration draws to a baseline with thresholds."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from harness.errors import UsageError
from harness.gate.baseline import (
    FALSE_ALARM,
    Baseline,
    BaselineCell,
    SampleSet,
    cell_key,
    observed,
    sample_set,
    sample_set_name,
)
from harness.records.observations import Observations, Unpaired
from harness.records.paired_tests import detectable
from harness.records.record import RunRecord
from harness.records.spec import RunSpec

MINIMUM_EFFECT = 0.01
"""The smallest loss that matters: one point of accuracy, one percent of perplexity."""

LEAST_DRAWS = 3
SUSPICIOUS = 3.0
"""A gain of so many times the minimum fails: more likely a fault than a better method."""


class Draw(NamedTuple):
    """One record of a cell and what its headline is taken over."""

    record: RunRecord
    observations: Observations

    @property
    def seed(self) -> int:
        """Of its calibration sample."""
        calibration = self.record.spec.calibration
        return calibration.seed if calibration else 0

    @property
    def level(self) -> float:
        """The headline on the scale of effects."""
        value = self.observations.value
        return math.log(value) if self.observations.logarithmic else value


def calibrated(
    records: Iterable[RunRecord],
    minimum_effect: float = MINIMUM_EFFECT,
    false_alarm: float = FALSE_ALARM,
) -> Baseline:
    """The baseline of ``records``: of each cell the draw with the smallest seed.

    Records that differ in nothing but the seed of their calibration sample are draws of one
    cell. A candidate fails for a loss above ``minimum``: ``minimum_effect``, or what a new draw
    alone can make, if that is more. The difference of two draws of standard deviation ``s`` has
    ``s sqrt(2)``, and stays below ``t s sqrt(2)`` with probability ``1 - false_alarm`` in all
    cells together, ``t`` being Student's quantile for the draws there are.

    Raises:
        UsageError: a cell is not complete, has too few draws, or no values by sample.
        NonFiniteError: a sample's value is NaN or infinite.
    """
    draws_by_cell: defaultdict[str, list[Draw]] = defaultdict(list)
    for record in records:
        draws_by_cell[cell_key(_without_seed(record.spec))].append(draw_of(record))
    if not draws_by_cell:
        raise UsageError("there are no records to calibrate on; pass a recipe with cells")
    samples: dict[str, SampleSet] = {}
    cells = []
    for draws in draws_by_cell.values():
        first = min(draws, key=lambda draw: draw.seed)
        shared = sample_set(first.observations)
        samples[sample_set_name(shared)] = shared
        cells.append(_cell(first, draws, minimum_effect, false_alarm / len(draws_by_cell)))
    return Baseline(false_alarm=false_alarm, samples=samples, cells=tuple(cells))


def measured_fields(draw: Draw) -> dict[str, Any]:
    """The fields of a baseline cell that are read off one record."""
    record, observations = draw
    done = record.compression
    return {
        "title": record.title,
        "spec": record.spec,
        "harness": record.environment.harness,
        "commit": record.environment.commit,
        "weights": record.model.fingerprint,
        "calibration": record.calibration.fingerprint if record.calibration else None,
        "data": record.data.fingerprint,
        "parameters": done.parameters if done else record.model.parameters,
        "metric": observations.metric,
        "unit": observations.unit,
        "higher_is_better": observations.higher_is_better,
        "logarithmic": observations.logarithmic,
        "value": observations.value,
        "samples": sample_set_name(sample_set(observations)),
        "values": tuple(observations.values.tolist()),
    }


def draw_of(record: RunRecord) -> Draw:
    """``record`` as a draw.

    Raises:
        UsageError: it is not complete, or has no values by sample.
        NonFiniteError: a sample's value is NaN or infinite.
    """
    if record.status != "complete":
        raise UsageError(
            f"the record {record.run_id} is {record.status} ({record.error}); a baseline needs "
            "complete ones, so run it again"
        )
    observations = observed(record)
    if isinstance(observations, Unpaired):
        raise UsageError(
            f"{record.spec.task.name} cannot be gated: {observations.reason}; choose a task whose "
            "headline is a mean over samples"
        )
    return Draw(record, observations)


def _cell(first: Draw, draws: Sequence[Draw], minimum_effect: float, tail: float) -> BaselineCell:
    calibrates = first.record.spec.calibration is not None
    seeds = len({draw.seed for draw in draws})
    if calibrates and seeds < LEAST_DRAWS:
        raise UsageError(
            f"{first.record.title} has {seeds} calibration seeds, its spread needs at "
            f"least {LEAST_DRAWS}; pass --seeds {LEAST_DRAWS} or more"
        )
    spread = float(np.std([draw.level for draw in draws], ddof=1)) if calibrates else None
    minimum = max(minimum_effect, between_draws(spread or 0.0, len(draws), tail))
    return BaselineCell(
        **measured_fields(first),
        draws=len(draws),
        spread=spread,
        minimum=minimum,
        suspicious=SUSPICIOUS * minimum,
        detectable=_detectable(first, draws, minimum, tail),
    )


def between_draws(spread: float, draws: int, tail: float) -> float:
    """How far two draws differ at most, but for a chance of ``tail`` on either side together."""
    if not spread:
        return 0.0
    quantile: Any = stats.t.ppf(1 - tail / 2, draws - 1)
    return float(quantile) * spread * math.sqrt(2)


def _detectable(first: Draw, draws: Sequence[Draw], minimum: float, tail: float) -> float | None:
    """The loss that the gate finds in 80% of all cases, None where that is not known.

    What a change does to one sample and not to another is taken to spread as between draws.
    """
    reference = first.observations.by_id()
    others = [draw.observations.by_id() for draw in draws if draw is not first]
    spreads = [
        float(np.std(other.values - reference.values, ddof=1))
        for other in others
        if other.ids == reference.ids and len(other.ids) > 1
    ]
    if not spreads:
        return None
    return minimum + detectable(len(reference.ids), max(spreads), 1 - tail)


def _without_seed(spec: RunSpec) -> RunSpec:
    if spec.calibration is None:
        return spec
    return spec.model_copy(update={"calibration": spec.calibration.model_copy(update={"seed": 0})})
