"""Runs that differ in their seed only, as one value: mean and spread."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from harness.records.observations import Observations
from leaderboards.tables import BoardCell


def mean_cell(cells: Sequence[BoardCell]) -> BoardCell:
    """One cell for the runs of one setting, one run a seed.

    The standard error and the interval are left out: those of one run say nothing about the
    choice of the calibration sample, which is what the spread is about.
    """
    if len(cells) == 1:
        return cells[0]
    values = [cell.value for cell in cells]
    # A slice that a run lacks has no mean over the same seeds.
    parts = [
        [part for cell in cells if (part := cell.part(first.slice or ""))]
        for first in cells[0].slices
    ]
    return replace(
        cells[0],
        value=statistics.fmean(values),
        stderr=None,
        interval=None,
        spread=statistics.stdev(values),
        slices=tuple(mean_cell(part) for part in parts if len(part) == len(cells)),
        members=tuple(cells),
        evidence=_mean_evidence([cell.evidence for cell in cells]),
    )


def _mean_evidence(evidence: Sequence[Observations | None]) -> Observations | None:
    """Each sample's mean over the runs; None where they were not on the same samples."""
    known = [observations.by_id() for observations in evidence if observations]
    if len(known) < len(evidence) or len({observations.ids for observations in known}) > 1:
        return None
    values = np.mean([observations.values for observations in known], axis=0)
    return replace(known[0], values=values)
