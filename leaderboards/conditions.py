"""Under which conditions the numbers of a section were measured, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from leaderboards.numbers import QUESTIONS
from leaderboards.published import UNCERTAIN
from leaderboards.tables import Data, Table, TableCalibration

LEVEL = 0.05
"""A difference counts where its two-sided p-value is below."""

SHORT = 12
"""Digits of a fingerprint that are shown."""


def legend(best: str = "Bold", tied: str = "Italic") -> tuple[str, ...]:
    """What the marks of a value stand for; ``best`` and ``tied`` are how two of them look."""
    return (
        f"{best}: beats every other row of its model and column",
        f"{tied}: at the top, where none beats the other",
        "*: beats the dense model under the same conditions",
        f"What beats is found by a paired test over the same samples, p < {LEVEL}",
    )


def conditions(tables: Sequence[Table]) -> Iterator[tuple[str, str]]:
    """What ``tables``, which differ in the model only, have in common: a term and what it is."""
    shared = tables[0]
    percent = " in percent" if shared.unit == QUESTIONS else ""
    direction = "higher" if shared.higher_is_better else "lower"
    yield "Metric", f"{shared.metric}{percent}, {direction} is better"
    yield "Compressed layers", f"{shared.scope}, {shared.dtype}"
    yield "Calibration", _calibration(shared.calibration, tables)
    yield "Data", "; ".join(map(_data, shared.data))


def models(tables: Sequence[Table]) -> Iterator[tuple[str, Sequence[str]]]:
    """Each model with its fingerprint, and its notes."""
    for table in tables:
        model = table.model
        names = ", ".join(model.references)
        yield f"{names} = {model.fingerprint[:SHORT]}", model.notes


def caveats(tables: Sequence[Table]) -> Iterator[str]:
    """What a reader must know before comparing numbers."""
    said = dict.fromkeys(caution for table in tables for caution in table.cautions)
    yield from (f"{caution}." for caution in said)
    if tables[0].unit != QUESTIONS:
        return
    whole = [table for table in tables if not any(cell.slices for _, _, cell in table.places)]
    if whole and any("scienceqa" in data.task for data in tables[0].data):
        without = ", ".join(name for table in whole for name in table.model.references)
        yield f"No breakdown available for {without}."
    cells = [cell for table in tables for _, _, cell in table.places]
    if any(part.published is not None for cell in cells for part in (cell, *cell.slices)):
        yield UNCERTAIN


def _calibration(calibration: TableCalibration | None, tables: Sequence[Table]) -> str:
    if calibration is None:
        return "none"
    size = "whole samples" if calibration.length is None else f"x {calibration.length} tokens"
    seeds = sorted({seed for table in tables for seed in table.seeds})
    written = f" and {calibration.self_samples} {size} of the model's own"
    drawn = f"{calibration.samples} {size} by {calibration.sampling}"
    drawn += written * bool(calibration.self_samples)
    return f"{calibration.text}, {drawn}, {_seeds(seeds)}, {calibration.fingerprint[:SHORT]}"


def _seeds(seeds: Sequence[int]) -> str:
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    return f"seeds {', '.join(map(str, seeds))} (mean ± standard deviation)"


def _data(data: Data) -> str:
    options = "" if data.options == "{}" else f", {data.options}"
    return f"{data.task} = {', '.join(data.references)}, {data.fingerprint[:SHORT]}{options}"
