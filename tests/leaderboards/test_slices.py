from __future__ import annotations

import pytest

from harness.records.results import Sample
from harness.records.spec import CalibrationSpec
from leaderboards.board import board
from tests.helpers.board_records import COUNTS, LETTER, PROMPTS, answers
from tests.leaderboards.cells import cells, only_table


@pytest.mark.parametrize(
    "other",
    [
        {"metric": LETTER.replace("letter", "sentence")},
        {"metric": LETTER.replace("16", "32")},
        {"unit": "documents"},
        {"task": "mini-scienceqa"},
        {"scope": "vision"},
        {"scope": "all"},
        {"calibration": PROMPTS.model_copy(update={"samples": 32})},
        {"calibration": CalibrationSpec(text="scienceqa", samples=64, length=2048)},
    ],
)
def test_accuracies_of_different_conditions_never_share_a_table(other):
    slices = {"NAT": 0.5}
    records = [answers(0.6, slices=slices), answers(0.7, method="svd", slices=slices, **other)]
    tables = board(records).tables
    assert [len(table.rows) for table in tables] == [1, 1]
    assert len({table.conditions for table in tables}) == 2


def test_a_scope_is_part_of_the_label_and_goes_with_the_same_dense_reference():
    records = [answers(0.6, scope=scope) for scope in ("all", "vision", "language")]
    tables = board([*records, answers(0.7, method="dense")]).tables
    assert {table.scope: [row.label for row in table.rows] for table in tables} == {
        "all": ["latentllm (all)"],
        "language": ["latentllm"],
        "vision": ["latentllm (vision)"],
    }
    assert all(table.dense for table in tables)
    (apart,) = board([answers(scope="vision", limit=3)]).unranked
    assert apart.method == "latentllm (vision)"


def test_methods_of_a_scope_keep_their_order():
    labels = ["zeta", "latentllm", "asvd-l2[junction=left]", "svd"]
    table = only_table([answers(0.5, label=label, scope="vision") for label in labels])
    assert [row.label for row in table.rows] == [f"{label} (vision)" for label in labels[::-1]]


def in_slices(method: str, **rights: int):
    """A record of twenty questions a slice, with ``rights`` of them answered right."""
    samples = tuple(
        Sample(id=f"{part}{i}", values={"correct": float(i < right)}, slices=(part,))
        for part, right in rights.items()
        for i in range(20)
    )
    shares = {part: right / 20 for part, right in rights.items()}
    whole = sum(shares.values()) / len(shares)
    record = answers(
        whole, method=method, slices=shares, counts=dict.fromkeys(rights, 20), n=len(samples)
    )
    result = record.result.model_copy(update={"samples": samples})
    return record.model_copy(update={"result": result})


def test_slices_are_ranked_among_themselves_as_far_as_their_samples_tell():
    records = [
        in_slices("dense", NAT=12, SOC=8),
        in_slices("svd", NAT=4, SOC=9),
        in_slices("latentllm", NAT=20, SOC=8),
    ]
    marks = {
        (label, part.slice): (part.best, part.tied, part.better_than_dense)
        for (label, _, _), cell in cells(only_table(records)).items()
        for part in cell.slices
    }
    assert marks == {
        ("svd", "NAT"): (False, False, False),
        ("svd", "SOC"): (False, True, False),
        ("latentllm", "NAT"): (True, False, True),
        ("latentllm", "SOC"): (False, True, False),
    }


def test_a_slice_that_its_samples_contradict_keeps_a_record_from_ranking():
    record = in_slices("latentllm", NAT=20, SOC=8)
    whole, nat, soc = record.result.metrics
    forged = record.result.model_copy(
        update={"metrics": (whole, nat, soc.model_copy(update={"value": 0.9}))}
    )
    (apart,) = board([record.model_copy(update={"result": forged})]).unranked
    assert apart.cause == "not what its samples give"


def test_slices_without_samples_of_their_own_carry_no_marks():
    records = [
        answers(0.5, method="dense", slices={"NAT": 0.6}),
        answers(0.6, method="svd", slices={"NAT": 0.5}),
        answers(0.4, slices={"NAT": 0.7}),
    ]
    found = cells(only_table(records))
    assert found["svd", 0.3, "scienceqa"].best
    parts = [part for cell in found.values() for part in cell.slices]
    assert not any(part.best or part.tied or part.better_than_dense for part in parts)


def test_slices_of_another_metric_stay_out():
    record = answers(0.5, slices={"NAT": 0.5, "SOC": 0.5})
    whole, nat, soc = record.result.metrics
    other = soc.model_copy(update={"name": LETTER.replace("letter", "sentence")})
    result = record.result.model_copy(update={"metrics": (nat, whole, other)})
    table = only_table([record.model_copy(update={"result": result})])
    assert [part.slice for cell in cells(table).values() for part in cell.slices] == ["NAT"]


def test_runs_that_differ_in_a_slice_only_are_both_shown():
    records = [answers(0.5, slices={"NAT": share}, seed=3) for share in (0.4, 0.6)]
    table = only_table([*records, answers(0.5, seed=3)])
    assert len(table.rows) == 3
    dense_runs = [answers(0.5, method="dense", slices={"NAT": share}) for share in (0.4, 0.6)]
    assert len(only_table(dense_runs).dense[0].cells) == 2


@pytest.mark.parametrize(
    ("changes", "whole", "image"),
    [
        ({}, 0.6013, 0.6177),
        ({"model": "liuhaotian/llava-v1.6-vicuna-7b"}, 0.6013, 0.6177),
        ({"metric": LETTER.replace("letter", "sentence")}, 0.6013, 0.6177),
        ({"method": "dense"}, 0.7003, 0.6882),
        ({"calibration": CalibrationSpec(text="c4", samples=64, length=2048)}, 0.6013, 0.6177),
        ({"scope": "vision"}, None, None),
        ({"scope": "all"}, None, None),
        ({"data": "my.parquet"}, None, None),
        ({"task_options": {"subset": "full", "parser": "letter"}}, 0.6013, 0.6177),
        ({"task_options": {"subset": "image"}}, None, None),
        ({"metric": "exact_match[prompt=direct]"}, None, None),
        ({"task": "mini-scienceqa"}, None, None),
        ({"model": "llava-hf/llava-v1.6-mistral-7b-hf"}, None, None),
        ({"ratio": 0.2}, None, None),
    ],
)
def test_published_accuracies_are_shares_beside_the_same_slice(changes, whole, image):
    parts = {"slices": {"IMG": 0.5, "other": 0.5}, "counts": COUNTS | {"other": 7}}
    table = only_table([answers(**(parts | changes))])
    (cell,) = (cell for _, _, cell in table.places)
    assert [one.published for one in (cell, *cell.slices)] == [
        whole and pytest.approx(whole),
        image and pytest.approx(image),
        None,
    ]
