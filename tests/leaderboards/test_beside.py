"""Numbers that something has changed stand beside others that it has changed as much."""

from __future__ import annotations

from harness.records.results import Caution
from leaderboards.board import board
from leaderboards.markdown import render
from tests.helpers.board_records import make_record


def cut(count: int) -> tuple[Caution, ...]:
    text = f"{count} of 141 prompts cut from the left"
    return (Caution(kind="prompts cut", effect="changes the number", count=count, text=text),)


ADVICE = (Caution(kind="answers ended by length", effect="advice", count=3, text="3 of 9 answers"),)


def ranked(*records):
    made = board(records)
    labels = [row.label for table in made.tables for row in table.rows]
    dense = [cell for table in made.tables for _, cell in table.dense_values]
    return labels, len(dense), {result.method: result.reason for result in made.unranked}


def test_a_cut_row_does_not_rank_beside_whole_ones() -> None:
    dense, whole = make_record(method="dense"), make_record(method="svd")
    labels, count, apart = ranked(dense, whole, make_record(cautions=cut(12)))
    assert (labels, count) == (["svd"], 1)
    assert apart == {"latentllm": "not so for every row: 12 of 141 prompts cut from the left"}


def test_a_cut_dense_model_is_no_reference_of_whole_rows() -> None:
    labels, count, apart = ranked(make_record(method="dense", cautions=cut(12)), make_record())
    assert (labels, count) == (["latentllm"], 0)
    assert list(apart) == ["dense"]


def test_rows_that_are_all_cut_alike_rank_with_a_word_about_it() -> None:
    records = [
        make_record(method="dense", cautions=cut(12)),
        make_record(method="svd", cautions=cut(12)),
        make_record(cautions=cut(12) + ADVICE),
    ]
    assert ranked(*records) == (["svd", "latentllm"], 1, {})
    caption = "Every row of wikitext2: 12 of 141 prompts cut from the left."
    assert caption in render(board(records))


def test_another_count_is_another_number() -> None:
    labels, count, apart = ranked(
        make_record(method="dense", cautions=cut(12)), make_record(cautions=cut(11))
    )
    assert (labels, count) == ([], 0)
    assert set(apart) == {"dense", "latentllm"}


def test_advice_keeps_nobody_from_ranking() -> None:
    assert ranked(make_record(method="dense"), make_record(cautions=ADVICE)) == (
        ["latentllm"],
        1,
        {},
    )


def test_other_tasks_and_models_are_no_comparison() -> None:
    records = [
        make_record(method="dense", cautions=cut(12)),
        make_record(cautions=cut(12)),
        make_record(task="ptb"),
        make_record(fingerprint="n" * 40, model="other"),
    ]
    assert ranked(*records)[2] == {}
