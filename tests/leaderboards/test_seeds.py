"""Runs that differ in the seed of their calibration sample become a mean and a spread."""

from __future__ import annotations

import statistics

import pytest

from harness.records.spec import CalibrationSpec
from leaderboards import jsonboard, markdown
from leaderboards.board import board
from tests.helpers.board_records import PROMPTS, answers, make_record

VALUES = (20.0, 22.0, 27.0)


def drawn(seed, value, **changes):
    spec = CalibrationSpec(text="c4", samples=64, length=2048, seed=seed)
    return make_record(value, calibration=spec, seed=seed, **changes)


def single_cell(records):
    (table,) = board(records).tables
    ((cell,),) = (row.cells for row in table.rows)
    return table, cell


def test_seeds_give_their_mean_and_standard_deviation():
    table, cell = single_cell([drawn(seed, value) for seed, value in enumerate(VALUES)])
    assert cell.value == pytest.approx(sum(VALUES) / 3)
    assert cell.spread == pytest.approx(statistics.stdev(VALUES))
    assert (cell.stderr, cell.interval, cell.seeds) == (None, None, 3)
    assert [one.value for one in cell.members] == list(VALUES)
    assert table.seeds == (0, 1, 2)


def test_a_single_seed_keeps_its_own_standard_error():
    table, cell = single_cell([drawn(4, 20.0)])
    assert (cell.value, cell.stderr, cell.spread, cell.seeds) == (20.0, 0.25, None, 1)
    assert table.seeds == (4,)


def test_a_repeated_seed_counts_once_and_the_newest_run_stands():
    records = [
        drawn(0, 20.0, created="2026-01-01T00:00:00Z", run_id="old"),
        drawn(0, 20.0, created="2026-01-02T00:00:00Z", run_id="new"),
        drawn(1, 24.0),
    ]
    _, cell = single_cell(records)
    assert (cell.value, cell.seeds) == (22.0, 2)
    assert cell.members[0].run_id == "new"


def test_one_seed_with_two_values_is_never_averaged():
    (table,) = board([drawn(0, 20.0), drawn(0, 21.0, run_id="again"), drawn(1, 24.0)]).tables
    assert sorted(c.value for row in table.rows for c in row.cells if c) == [20.0, 21.0, 24.0]


def test_slices_are_averaged_where_every_seed_has_them():
    records = [
        answers(0.5, seed=0, slices={"NAT": 0.4, "SOC": 0.3}),
        answers(0.7, seed=1, slices={"NAT": 0.8}),
    ]
    _, cell = single_cell(records)
    assert [(part.slice, part.value) for part in cell.slices] == [("NAT", pytest.approx(0.6))]
    assert cell.slices[0].spread == pytest.approx(statistics.stdev([0.4, 0.8]))


def test_the_page_shows_mean_spread_and_every_run():
    found = board([drawn(seed, value) for seed, value in enumerate(VALUES)])
    text = markdown.render(found)
    assert "23.0 ± 3.6 (3 seeds)" in text
    assert "seeds 0, 1, 2 (mean ± standard deviation)" in text
    assert "mean of 3 seeds" in text
    assert all(one.run_id in text for one in found.tables[0].rows[0].cells[0].members)
    assert '"spread": 3.6' in jsonboard.render(found)


def test_calibrations_that_differ_in_more_than_the_seed_stay_apart():
    fewer = PROMPTS.model_copy(update={"samples": 8, "seed": 1})
    records = [answers(0.5, calibration=PROMPTS), answers(0.6, calibration=fewer)]
    assert len(board(records).tables) == 2


def test_calibrations_that_the_model_wrote_a_part_of_stay_apart_and_say_so():
    plain = CalibrationSpec(text="c4", samples=8, length=16)
    more = plain.model_copy(update={"self_samples": 3})
    records = [answers(0.5, calibration=plain), answers(0.6, calibration=more)]
    found = board(records)
    assert len(found.tables) == 2
    text = markdown.render(found)
    assert "8 x 16 tokens by windows, seed 0" in text
    assert "8 x 16 tokens by windows and 3 x 16 tokens of the model's own, seed 0" in text


def test_a_run_with_uncommitted_changes_does_not_rank():
    record = drawn(0, 20.0)
    dirty = record.environment.model_copy(update={"commit": "c" * 40, "dirty": True})
    found = board([record.model_copy(update={"environment": dirty})])
    assert found.tables == ()
    assert found.unranked[0].reason == "measured with uncommitted changes in the code"
