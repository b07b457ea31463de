from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from harness.records.store import Problem
from harness.support.markdown import escape
from leaderboards import jsonboard, markdown
from leaderboards.board import board
from leaderboards.numbers import exact, percent, rounded
from tests.helpers.board_records import dense, make_record, paper_board, vision_board
from tests.leaderboards.awkward_names import AWKWARD, board_named

HERE = Path(__file__).parent
PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


@pytest.mark.parametrize(
    ("records", "golden"), [(paper_board, "golden.md"), (vision_board, "golden_vision.md")]
)
def test_the_rendered_example_is_the_golden_file(records, golden):
    problem = Problem(Path("folder/bad.json"), "not valid JSON")
    text = markdown.render(board([*records(), problem]))
    assert text == (HERE / golden).read_text("utf-8")
    assert_safe(text)


def test_an_empty_board_renders():
    assert markdown.render(board([])).startswith("# Leaderboard")
    assert json.loads(jsonboard.render(board([])))["tables"] == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (20.24, "20.2"),
        (9428.1, "9428.1"),
        (9999.94, "9999.9"),
        (9999.96, "1.0e4"),
        (16461.2, "1.6e4"),
        (1.1e5, "1.1e5"),
        (5.2e8, "5.2e8"),
        (1e300, "1.0e300"),
    ],
)
def test_perplexities_look_like_the_papers(value, text):
    assert rounded(value, "perplexity_token@2048", "windows") == text


def test_other_metrics_keep_four_digits():
    assert rounded(0.612345, "acc", "documents") == "0.6123"
    assert exact(0.612345678, "documents") == "0.612346"


@pytest.mark.parametrize(
    ("value", "text", "full"),
    [(0.0, "0.00", "0%"), (1.0, "100.00", "100%"), (0.61237, "61.24", "61.237%")],
)
def test_accuracies_over_questions_are_percentages(value, text, full):
    assert rounded(value, "vqa_accuracy[prompt=short]", "questions") == text
    assert exact(value, "questions") == full


@pytest.mark.parametrize(
    ("ratio", "text"), [(0.0, "0%"), (0.1, "10%"), (0.125, "12.5%"), (1 / 3, "33.3333%")]
)
def test_ratios_are_percentages(ratio, text):
    assert percent(ratio) == text


def test_marks_combine():
    text = markdown.render(
        board(
            [dense(14.6), make_record(15.0, method="svd", ratio=0.1), make_record(14.0, ratio=0.1)]
        )
    )
    assert r"| **\*14.0** (paper 14.5) |" in text
    html = PARSER.render(text)
    assert "<strong>*14.0</strong> (paper 14.5)" in html


def test_a_task_without_dense_reference_says_so():
    text = markdown.render(board([dense(), make_record(), make_record(task="ptb")]))
    assert "(wikitext2: 14.6 (paper 14.6), ptb: not measured)" in text


def test_json_holds_every_cell_and_reads_back():
    document = json.loads(jsonboard.render(board(paper_board())))
    assert document["version"] == 1
    (table,) = document["tables"]
    assert table["metric"] == "perplexity_token@2048"
    assert sum(cell is not None for row in table["rows"] for cell in row["cells"]) == 8
    assert len(document["unranked"]) == 2


def test_json_holds_slices_with_all_that_belongs_to_them():
    tables = json.loads(jsonboard.render(board(vision_board())))["tables"]
    language = next(table for table in tables if table["data"][0]["task"] == "scienceqa")
    assert (language["scope"], language["unit"]) == ("language", "questions")
    assert language["calibration"]["length"] is None
    (row,) = (row for row in language["rows"] if row["label"] == "latentllm")
    found = {part["slice"]: part for part in row["cells"][0]["slices"]}
    assert list(found) == ["NAT", "SOC", "LAN", "TXT", "IMG", "NO", "G1-6", "G7-12"]
    image = {key: found["IMG"][key] for key in ("n", "stderr", "published", "metric")}
    assert image == {
        "n": 2017,
        "stderr": 0.0075,
        "published": 0.652,
        "metric": row["cells"][0]["metric"],
    }
    assert found["IMG"]["interval"] == pytest.approx([0.4875, 0.825])


def flat(tokens):
    for token in tokens:
        yield token
        yield from flat(token.children or [])


def assert_safe(text: str) -> None:
    tokens = list(flat(PARSER.parse(text)))
    kinds = {token.type for token in tokens}
    assert kinds <= {
        *("heading_open", "heading_close", "paragraph_open", "paragraph_close", "inline", "text"),
        *("strong_open", "strong_close", "text_special"),
        *(
            f"{tag}_{end}"
            for tag in ("table", "thead", "tbody", "tr", "th", "td")
            for end in ("open", "close")
        ),
    }
    widths = []
    for token in tokens:
        if token.type == "table_open":
            widths = []
        if token.type == "tr_open":
            widths.append(0)
        if token.type in ("td_open", "th_open"):
            widths[-1] += 1
        if token.type == "table_close":
            assert len(set(widths)) == 1
    assert "<script" not in PARSER.render(text)


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_names_render_as_text(name):
    text = markdown.render(board_named(name))
    assert_safe(text)
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert headings[0] == "# Leaderboard"
    assert {line.split()[0] for line in headings[1:]} == {"##", "###"}
    json.loads(jsonboard.render(board_named(name)))


@given(st.text(max_size=40))
@example("a\\")
@settings(max_examples=200, deadline=None)
def test_any_name_is_safe_in_a_table_cell(name):
    assert_safe(f"| a | b |\n| --- | --- |\n| {escape(name)} | **x** |\n")


@given(st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=40))
@settings(max_examples=200, deadline=None)
def test_an_escaped_name_reads_as_itself(name):
    tokens = flat(PARSER.parse(f"| {escape(name)} |\n| --- |\n"))
    text = "".join(token.content for token in tokens if token.type in ("text", "text_special"))
    assert text == " ".join(name.split())


def test_ten_thousand_records_render():
    records = [
        make_record(
            float(i % 977 + 1),
            model=f"facebook/opt-{i % 20}",
            fingerprint=f"{i % 20}",
            label=f"method-{i // 20 % 50}",
            ratio=(i // 1000 % 5) / 10,
            task=f"task-{i // 5000}",
        )
        for i in range(10_000)
    ]
    result = board(records)
    assert len(result.tables) == 20
    assert markdown.render(result).count("\n| ") > 10_000
    assert len(json.loads(jsonboard.render(result))["tables"]) == 20


def test_a_model_that_was_rounded_before_says_what_that_means():
    record = make_record()
    model = record.model.model_copy(update={"precision": "GGUF Q4_1"})
    text = markdown.render(board([record.model_copy(update={"model": model})]))
    assert "weights lie on the grid of GGUF Q4" in text
    assert "costs less than it would on the weights as trained" in text
