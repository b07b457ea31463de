from __future__ import annotations

import math
import statistics
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.records.results import Sample
from harness.records.spec import CalibrationSpec
from harness.records.store import Problem
from leaderboards import jsonboard, markdown
from leaderboards.board import board
from leaderboards.tables import Table
from tests.helpers.board_records import (
    COUNTS,
    PERPLEXITY,
    PROMPTS,
    answers,
    dense,
    make_record,
    paper_board,
)
from tests.leaderboards.cells import cells, only_table


def columns(table: Table) -> list[tuple[float, str]]:
    return [(column.ratio, column.task) for column in table.columns]


def test_rows_follow_the_fixed_order_then_the_alphabet():
    labels = ["zeta", "latentllm", "alpha", "asvd-rootcov [block-identity]", "asvd-rootcov"]
    labels += ["asvd-cov", "asvd-l2", "asvd-l1", "asvd-hessian", "svd"]
    table = only_table(
        [make_record(i, label=label, method=label) for i, label in enumerate(labels, start=1)]
    )
    assert [row.label for row in table.rows] == [
        "svd",
        "asvd-hessian",
        "asvd-l1",
        "asvd-l2",
        "asvd-cov",
        "asvd-rootcov",
        "asvd-rootcov [block-identity]",
        "latentllm",
        "alpha",
        "zeta",
    ]


def test_columns_are_ratio_by_task_in_the_papers_order():
    tasks = ["c4", "aaa", "wikitext2", "ptb"]
    table = only_table([make_record(ratio=r, task=t) for r in (0.3, 0.1) for t in tasks])
    order = ["wikitext2", "ptb", "c4", "aaa"]
    assert columns(table) == [(r, t) for r in (0.1, 0.3) for t in order]


def test_ratios_that_differ_only_by_rounding_share_a_column():
    table = only_table([make_record(ratio=0.3), make_record(method="svd", ratio=0.1 + 0.2)])
    assert columns(table) == [(0.3, "wikitext2")]


@pytest.mark.parametrize(("higher", "best", "starred"), [(False, "a", "a"), (True, "c", "c")])
def test_best_and_better_than_dense_follow_the_direction(higher, best, starred):
    kinds = {"metric": "m", "higher_is_better": higher}
    records = [make_record(v, method=m, **kinds) for m, v in {"a": 1.0, "b": 2.0, "c": 3.0}.items()]
    found = cells(only_table([dense(2.0, **kinds), *records]))
    assert {label for (label, _, _), cell in found.items() if cell.best} == {best}
    assert {label for (label, _, _), cell in found.items() if cell.better_than_dense} == {starred}


def test_all_of_a_tie_are_tied_and_none_is_best():
    found = cells(only_table([make_record(method=m) for m in ("svd", "latentllm")]))
    assert [(cell.best, cell.tied) for cell in found.values()] == [(False, True)] * 2


def test_a_value_alone_in_its_column_is_neither_best_nor_tied():
    (cell,) = cells(only_table([make_record()])).values()
    assert (cell.best, cell.tied) == (False, False)


def with_losses(record, losses):
    """``record`` with these window losses, and the perplexity that they give."""
    samples = tuple(
        Sample(id=str(i), values={"nll": loss, "tokens": 2047.0}) for i, loss in enumerate(losses)
    )
    value = math.exp(statistics.fmean(losses))
    metric = record.result.metrics[0].model_copy(update={"value": value, "n": len(losses)})
    result = record.result.model_copy(update={"metrics": (metric,), "samples": samples})
    return record.model_copy(update={"result": result})


@pytest.mark.parametrize(("shift", "supported"), [(0.0001, False), (-0.05, True)])
def test_a_mark_needs_a_difference_that_the_windows_support(shift, supported):
    noise = [0.01 * (-1) ** i for i in range(24)]
    hard = [2.0 + 0.1 * i for i in range(24)]
    shifted = [loss + wave + shift for loss, wave in zip(hard, noise, strict=True)]
    records = [with_losses(dense(), hard), with_losses(make_record(method="svd"), hard)]
    found = cells(only_table([*records, with_losses(make_record(), shifted)]))
    ours = found["latentllm", 0.3, "wikitext2"]
    assert (ours.best, ours.tied, ours.better_than_dense) == (supported, not supported, supported)


def test_seeds_that_contradict_each_other_make_a_tie():
    def drawn(method, value, seed):
        spec = CalibrationSpec(text="c4", samples=64, length=2048, seed=seed)
        return make_record(value, method=method, calibration=spec)

    steady = [drawn("svd", value, seed) for seed, value in enumerate((20.0, 20.01, 20.02))]
    clear = [drawn("latentllm", value, seed) for seed, value in enumerate((10.0, 10.01, 10.02))]
    mixed = [drawn("latentllm", value, seed) for seed, value in enumerate((10.0, 20.0, 29.0))]
    at = ("latentllm", 0.3, "wikitext2")
    assert cells(only_table([*steady, *clear]))[at].best
    assert cells(only_table([*steady, *mixed]))[at].tied


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"value": 1.0}, "perplexity_token@2048 is not the mean of its 141 samples"),
        ({"n": 140}, "perplexity_token@2048 is not the mean of its 141 samples"),
    ],
)
def test_a_value_that_is_not_its_samples_never_ranks(change, reason):
    record = make_record(124.0)
    metric = record.result.metrics[0].model_copy(update=change)
    result = record.result.model_copy(update={"metrics": (metric,)})
    ranked = board([record.model_copy(update={"result": result}), dense()])
    (apart,) = ranked.unranked
    assert (apart.cause, apart.reason) == ("not what its samples give", reason)
    assert [table.rows for table in ranked.tables] == [()]


def test_a_result_without_samples_never_ranks():
    record = make_record()
    result = record.result.model_copy(update={"samples": ()})
    (apart,) = board([record.model_copy(update={"result": result})]).unranked
    assert apart.reason == "the samples hold no values of perplexity_token@2048"


@pytest.mark.parametrize(
    "other",
    [
        {"dtype": "bfloat16"},
        {"fingerprint": "other"},
        {"data_fingerprint": "other"},
        {"metric": "perplexity_token@512"},
        {"task_options": {"stride": 1}},
        {"limit": 3},
        {"task": "ptb"},
    ],
)
def test_no_star_without_a_dense_reference_of_the_same_conditions(other):
    records = [make_record(14.0), dense(99.0, **other)]
    starred = [
        cell
        for table in board(records).tables
        for cell in cells(table).values()
        if cell.better_than_dense
    ]
    assert starred == []
    assert cells(only_table([make_record(14.0), dense(99.0)]))[
        "latentllm", 0.3, "wikitext2"
    ].better_than_dense


def test_disagreeing_dense_runs_are_all_shown_and_all_must_be_beaten():
    records = [dense(14.0), dense(15.0, seed=1), make_record(14.5)]
    table = only_table(records)
    assert [cell.value for cell in table.dense[0].cells] == [14.0, 15.0]
    assert not cells(table)["latentllm", 0.3, "wikitext2"].better_than_dense


@pytest.mark.parametrize(
    "other",
    [
        {"metric": "perplexity_token@512"},
        {"metric": "perplexity_word"},
        {"data_fingerprint": "other"},
        {"task_options": {"stride": 1}},
        {"dtype": "bfloat16"},
        {"fingerprint": "other"},
        {"higher_is_better": True},
        {"calibration": CalibrationSpec(text="wiki", samples=64, length=2048)},
        {"calibration": CalibrationSpec(text="c4", samples=32, length=2048)},
        {"calibration": CalibrationSpec(text="c4", samples=64, length=1024)},
        {"calibration": CalibrationSpec(text="c4", samples=64, length=2048, sampling="documents")},
        {"calibration_fingerprint": "other"},
    ],
)
def test_different_conditions_never_share_a_table(other):
    tables = board([make_record(1.0), make_record(2.0, method="svd", **other)]).tables
    assert [len(table.rows) for table in tables] == [1, 1]


def test_one_task_on_other_data_does_not_split_the_rest():
    records = [make_record(task="ptb"), make_record(), make_record(data_fingerprint="z")]
    assert [columns(table) for table in board(records).tables] == [
        [(0.3, "wikitext2"), (0.3, "ptb")],
        [(0.3, "wikitext2")],
    ]


def test_a_method_without_calibration_stands_under_every_calibration():
    other = CalibrationSpec(text="wiki", samples=1, length=2)
    records = [make_record(), make_record(calibration=other), dense()]
    tables = board([*records, make_record(method="svd", calibration=None)]).tables
    assert [[row.label for row in table.rows] for table in tables] == [["svd", "latentllm"]] * 2
    assert all(table.dense for table in tables)


def test_a_dense_reference_alone_is_still_shown():
    table = only_table([dense()])
    assert (table.rows, table.calibration, len(table.dense)) == ((), None, 1)


def test_equal_values_of_one_cell_show_the_newest_run():
    records = [
        make_record(created=f"2026-01-0{day}T00:00:00Z", run_id=f"day{day}") for day in (2, 3, 1)
    ]
    (row,) = only_table(records).rows
    assert row.runs == ()
    assert [cell.run_id for cell in row.cells if cell] == ["day3"]


def test_disagreeing_runs_of_one_cell_become_rows_with_run_ids():
    records = [
        make_record(20.0 + run, ratio=ratio, run_id=f"run{run}-{ratio}")
        for run in (0, 1)
        for ratio in (0.1, 0.3)
    ]
    rows = [
        (row.runs, cell.value) for row in only_table(records).rows for cell in row.cells if cell
    ]
    assert rows == [((f"run{run}-{ratio}",), 20.0 + run) for run in (0, 1) for ratio in (0.1, 0.3)]


def test_one_spec_measured_twice_with_different_values_shows_both():
    table = only_table([make_record(1.0), make_record(2.0)])
    assert sorted(cell.value for row in table.rows for cell in row.cells if cell) == [1.0, 2.0]
    assert all(len(row.runs) == 1 for row in table.rows)


def test_what_cannot_be_compared_is_listed_apart_with_the_reason():
    nothing = make_record(task="nothing").model_copy(update={"result": None})
    unexplained = make_record(task="unexplained").model_copy(update={"compression": None})
    result = board(
        [
            make_record(status="failed", error="no memory"),
            make_record(limit=4, task="ptb"),
            dense(limit=4, task="ptb"),
            answers(task="some", skipped=3, n=4238, status="incomplete"),
            answers(task="some", skipped=1, n=0, method="dense"),
            make_record(task="unknown", status="incomplete"),
            nothing,
            unexplained,
            Problem(Path("folder/bad.json"), "cut short"),
        ]
    )
    assert result.tables == ()
    reasons = {(one.task or one.run_id, one.method): one.reason for one in result.unranked}
    assert reasons == {
        ("wikitext2", "latentllm"): "failed: no memory",
        ("ptb", "latentllm"): "limited to 4",
        ("ptb", "dense"): "limited to 4",
        ("some", "latentllm"): "3 of 4,241 questions skipped",
        ("some", "dense"): "1 of 1 questions skipped",
        ("unknown", "latentllm"): "incomplete",
        ("nothing", "latentllm"): "no result",
        ("unexplained", "latentllm"): "does not say how it was compressed",
        ("bad.json", ""): "cut short",
    }


@pytest.mark.parametrize(
    ("changes", "value"),
    [
        ({}, 20.2),
        ({"model": "/data/OPT-1.3B"}, 20.2),
        ({"model": "facebook/opt-1.3b@refs/pr/1"}, 20.2),
        ({"method": "asvd-rootcov"}, 33.9),
        ({"method": "asvd-rootcov", "label": "asvd-rootcov [block-identity]"}, None),
        ({"label": "latentllm [plain]"}, None),
        ({"metric": "perplexity_token@512"}, None),
        ({"metric": "perplexity_word"}, None),
        ({"data": "my.txt"}, None),
        ({"ratio": 0.35}, None),
        ({"task": "lambada"}, None),
        ({"model": "builtin:tiny"}, None),
        ({"method": "asvd-l1"}, None),
    ],
)
def test_published_numbers_stand_only_where_they_are_comparable(changes, value):
    (cell,) = cells(only_table([make_record(**changes)])).values()
    assert cell.published == value


def test_dense_references_carry_the_published_value_too():
    table = only_table([dense(), make_record()])
    assert [cell.published for cell in table.dense[0].cells] == [14.6]
    (elsewhere,) = only_table([dense(metric="perplexity_token@512")]).dense
    assert elsewhere.cells[0].published is None


RECORDS = st.lists(
    st.builds(
        make_record,
        st.sampled_from([1.0, 2.0, 3.5]),
        method=st.sampled_from(["svd", "latentllm", "dense", "zeta"]),
        ratio=st.sampled_from([0.1, 0.3]),
        task=st.sampled_from(["wikitext2", "ptb"]),
        data_fingerprint=st.sampled_from(["x", "y"]),
        metric=st.sampled_from([PERPLEXITY, "acc"]),
        seed=st.sampled_from([0, 1]),
        limit=st.sampled_from([None, None, None, 3]),
        status=st.sampled_from(["complete", "complete", "failed"]),
        stderr=st.sampled_from([None, 0.5]),
        calibration=st.sampled_from([None, CalibrationSpec(text="c4", samples=1, length=2)]),
        model=st.sampled_from(["facebook/opt-125m", "/data/copy"]),
        created=st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]),
    ),
    max_size=12,
)
ANSWERS = st.lists(
    st.builds(
        answers,
        st.sampled_from([0.25, 0.5, 1.0]),
        method=st.sampled_from(["svd", "latentllm", "dense"]),
        ratio=st.sampled_from([0.1, 0.3]),
        task=st.sampled_from(["scienceqa", "textvqa"]),
        slices=st.dictionaries(
            st.sampled_from(["NAT", "IMG", "G1-6", "other"]), st.sampled_from([0.0, 0.5])
        ),
        counts=st.just(COUNTS | {"other": 7}),
        scope=st.sampled_from(["language", "vision", "all"]),
        skipped=st.sampled_from([0, 0, 0, 2]),
        fingerprint=st.sampled_from(["x", "y"]),
        calibration=st.sampled_from(
            [None, PROMPTS, CalibrationSpec(text="c", samples=1, length=2)]
        ),
        created=st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]),
    ),
    max_size=12,
)


@given(RECORDS | ANSWERS, st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_the_order_of_records_does_not_matter(records, random):
    shuffled = [*records, *records[:2]]
    random.shuffle(shuffled)
    one, other = board(records), board(shuffled)
    assert markdown.render(one) == markdown.render(other)
    assert jsonboard.render(one) == jsonboard.render(other)


@given(RECORDS | ANSWERS)
@settings(max_examples=150, deadline=None)
def test_every_value_is_shown_or_listed_apart(records):
    result = board(records)
    shown = {
        (part.value, part.metric, part.slice, column.task, column.ratio, table.scope)
        for table in result.tables
        for _, column, cell in table.places
        for part in (cell, *cell.slices)
    }
    apart = {one.run_id for one in result.unranked}
    for record in records:
        spec, outcome = record.spec, record.result
        if outcome and not outcome.skipped and spec.task.limit is None:
            for metric in outcome.metrics:
                found = (metric.value, metric.name, metric.slice, spec.task.name, spec.ratio)
                scopes = {scope for *others, scope in shown if tuple(others) == found}
                assert scopes if spec.method.name == "dense" else spec.scope in scopes
        else:
            assert record.run_id in apart


def test_the_example_has_one_table_and_two_records_apart():
    result = board(paper_board())
    assert (len(result.tables), len(result.unranked)) == (1, 2)
