from __future__ import annotations

import csv
import io

import pytest

from leaderboards import csvboard
from leaderboards.board import board
from tests.helpers.board_records import dense, make_record, paper_board, vision_board
from tests.leaderboards.awkward_names import AWKWARD, board_named


def rows(ranked):
    return list(csv.DictReader(io.StringIO(csvboard.render(ranked))))


def test_each_value_is_a_row_with_its_conditions():
    found = rows(board(paper_board()))
    assert len(found) == 2 + 8 + 2
    (row,) = (row for row in found if row["task"] == "ptb" and row["method"] == "latentllm")
    assert float(row["value"]) == 24.4
    assert {key: row[key] for key in ("kind", "ratio", "n", "published", "best", "dtype")} == {
        "kind": "run", "ratio": "0.2", "n": "141", "published": "24.3", "best": "false",
        "dtype": "float32",
    }  # fmt: skip
    assert '"samples": 64' in row["calibration"]


def test_slices_intervals_and_shares_stay_what_they_are():
    (row,) = (
        row
        for row in rows(board(vision_board()))
        if (row["method"], row["slice"], row["scope"]) == ("latentllm", "IMG", "language")
    )
    assert (float(row["value"]), row["n"], row["unit"]) == (
        pytest.approx(0.65),
        "2017",
        "questions",
    )
    assert float(row["interval_low"]) == pytest.approx(0.4875)


def test_a_mean_over_seeds_is_followed_by_its_runs():
    records = [make_record(20.0 + i, seed=0, run_id=f"r{i}") for i in range(1)]
    calibrations = [
        record.spec.calibration.model_copy(update={"seed": seed})
        for seed in (1, 2)
        for record in records
    ]
    records += [
        make_record(22.0 + i, calibration=one, run_id=f"s{i}") for i, one in enumerate(calibrations)
    ]
    mean, *runs = rows(board(records))
    assert (mean["kind"], mean["seeds"], mean["run_id"]) == ("mean", "3", "r0 s0 s1")
    assert [row["kind"] for row in runs] == ["run"] * 3
    assert float(mean["value"]) == pytest.approx(sum(float(row["value"]) for row in runs) / 3)


def test_what_does_not_rank_stands_with_its_reason():
    reasons = [row["reason"] for row in rows(board(paper_board())) if row["kind"] == "unranked"]
    assert reasons == ["failed: out of memory | a <b>", "limited to 4"]


def test_an_empty_board_is_a_header():
    assert csvboard.render(board([])).splitlines() == [",".join(csvboard.COLUMNS)]


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_names_stay_in_their_cells(name):
    ranked = board_named(name)
    text = csvboard.render(ranked)
    found = rows(ranked)
    assert all(None not in row and None not in row.values() for row in found)
    assert len(text.splitlines()) == 1 + len(found)
    for row in found:
        for cell in row.values():
            assert not cell.startswith(("=", "+", "@", "\t"))
            assert not cell.startswith("-") or float(cell) < 0


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)"])
def test_no_spreadsheet_computes_a_name(name):
    assert {row["model"] for row in rows(board([dense(model=name)]))} == {f"'{name}"}
