"""The paper's own numbers, as if measured, come out in the shapes of its Tables 4 and 10."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest

from leaderboards import markdown
from leaderboards.board import board
from tests.helpers.board_records import LLAVA, VQA, answers

DOCUMENT = json.loads(files("leaderboards").joinpath("published.json").read_text("utf-8"))
ROWS = [{"method": "dense", "ratio": 0.0} | row for row in DOCUMENT["dense"]]
ROWS += DOCUMENT["compressed"]
METHODS = ["svd", "asvd-hessian", "asvd-l2", "asvd-cov", "asvd-rootcov", "latentllm"]
SLICES = ["NAT", "SOC", "LAN", "TXT", "IMG", "NO", "G1-6", "G7-12", "Avg"]
MODELS = {"Qwen2.5-VL-3B-Instruct": 3, "LLaVA-7B": 7, "Qwen2.5-VL-7B-Instruct": 8}


def table4() -> dict[tuple[str, float], dict[str, float]]:
    found: dict[tuple[str, float], dict[str, float]] = {}
    for row in ROWS:
        if row["table"] == "table4":
            found.setdefault((row["method"], row["ratio"]), {})[row["slice"]] = row["value"]
    return found


def table10() -> dict[tuple[str, str, float], float]:
    rows = (row for row in ROWS if row["table"] == "table10")
    return {(row["model"], row["method"], row["ratio"]): row["value"] for row in rows}


def reference(model: str) -> str:
    return LLAVA if model == "LLaVA-7B" else f"Qwen/{model}"


def grid(text: str, heading: str) -> list[list[str]]:
    """The cells of the first table under ``heading``."""
    blocks = text.split(heading, 1)[1].split("\n\n")
    table = next(block for block in blocks if block.startswith("| "))
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]


def printed(value: float, *, best: bool = False) -> str:
    return (f"**{value:.2f}**" if best else f"{value:.2f}") + f" (paper {value:.2f})"


def test_slices_have_the_shape_of_table_4():
    numbers = table4()
    records = []
    for (method, ratio), percents in numbers.items():
        shares = {part: percents[part] / 100 for part in SLICES}
        records.append(answers(shares.pop("Avg"), method=method, ratio=ratio, slices=shares))
    header, _, dense, *rows = grid(markdown.render(board(records)), "### scienceqa by slice")
    assert [name.partition(" (")[0] for name in header] == ["Method", "Compression", *SLICES]
    assert (header[2], header[-1]) == ("NAT (n 2,252)", "Avg (n 4,241)")
    original = numbers["dense", 0.0]
    assert dense == ["dense", "0%", *(printed(original[part]) for part in SLICES)]
    assert [(method, ratio) for method, ratio, *_ in rows] == [
        (method, f"{ratio}%") for ratio in (10, 30, 50) for method in METHODS
    ]
    for method, percentage, *cells in rows:
        ratio = float(percentage.strip("%")) / 100
        values = numbers[method, ratio]
        best = max(numbers[other, ratio]["Avg"] for other in METHODS)
        # The samples do not say which slices they lie in: only the whole can be tested.
        whole = printed(values["Avg"], best=values["Avg"] == best)
        assert cells == [*(printed(values[part]) for part in SLICES[:-1]), whole]


def test_accuracies_have_the_shape_of_table_10():
    numbers = table10()
    records = [
        answers(
            value / 100,
            model=reference(model),
            fingerprint=model,
            parameters=MODELS[model],
            method=method,
            ratio=ratio,
            task="textvqa",
            metric=VQA,
        )
        for (model, method, ratio), value in numbers.items()
    ]
    header, _, *rows = grid(markdown.render(board(records)), "## 1. textvqa")
    assert header == ["Compression", "10%", "20%", "30%", "40%", "50%"]
    ratios = (0.1, 0.2, 0.3, 0.4, 0.5)
    expected = []
    for model in MODELS:
        dense = printed(numbers[model, "dense", 0.0])
        expected.append([f"{reference(model)} (textvqa: {dense})", *[""] * 5])
        best = {ratio: max(numbers[model, other, ratio] for other in METHODS) for ratio in ratios}
        for method in METHODS:
            values = [(ratio, numbers[model, method, ratio]) for ratio in ratios]
            expected.append([method, *(printed(v, best=v == best[r]) for r, v in values)])
    assert rows == expected


def test_models_stand_under_the_columns_of_all():
    one = answers(0.5, ratio=0.1, task="textvqa")
    two = answers(0.25, ratio=0.3, task="textvqa", fingerprint="z", model="some/model")
    _, _, *rows = grid(markdown.render(board([one, two])), "## 1. textvqa")
    assert rows == [
        [f"{LLAVA} (textvqa: not measured)", "", ""],
        ["latentllm", "50.00", ""],
        ["some/model (textvqa: not measured)", "", ""],
        ["latentllm", "", "25.00"],
    ]


@pytest.mark.parametrize("other", [{"task": "textvqa"}, {"scope": "vision"}, {"dtype": "bfloat16"}])
def test_models_are_blocks_of_one_table_only_under_the_same_conditions(other):
    models = [answers(), answers(fingerprint="z", model="some/model")]
    assert markdown.render(board(models)).count("\n| Compression |") == 1
    assert markdown.render(board([*models, answers(**other)])).count("\n| Compression |") == 2


def test_the_uncertainty_about_the_papers_protocol_stands_with_its_accuracies_only():
    caveat = "The paper does not say which prompt"
    assert caveat in markdown.render(board([answers()]))
    assert caveat not in markdown.render(board([answers(ratio=0.35)]))


def test_what_overlaps_is_stated():
    text = markdown.render(board([answers(slices={"TXT": 0.5})]))
    assert "TXT (with a hint) and IMG (with an image) overlap" in text
    other = markdown.render(board([answers(slices={"easy": 0.5}, counts={"easy": 3})]))
    assert "easy (n 3)" in other
    assert "overlap" not in other


def test_a_missing_breakdown_is_said_and_is_no_zero():
    text = markdown.render(board([answers(0.5)]))
    assert f"No breakdown available for {LLAVA}." in text
    assert "by slice" not in text
    some = [answers(0.5, ratio=0.1), answers(0.5, slices={"NAT": 0.25})]
    text = markdown.render(board(some))
    assert "No breakdown available for" not in text
    header, _, without, partly = grid(text, "### scienceqa by slice")
    assert header[2:4] == ["NAT (n 2,252)", "SOC"]
    assert without[2:-1] == ["n/a"] * 8
    assert partly[2:-1] == ["25.00 (paper 64.03)", *["n/a"] * 7]
    assert "n/a: no breakdown available." in text


def test_disagreeing_dense_runs_are_rows_with_their_runs():
    records = [
        answers(value, method="dense", slices={"NAT": value}, run_id=f"run{value}")
        for value in (0.5, 0.6)
    ]
    _, _, *rows = grid(markdown.render(board(records)), "### scienceqa by slice")
    assert [row[0] for row in rows] == ["dense (run run0.5)", "dense (run run0.6)"]
