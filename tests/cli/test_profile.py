"""``harness profile``: what it prints, and what it refuses."""

from __future__ import annotations

import json

import pytest

from harness.profile.table2 import published_table2

TINY = ("profile", "--model", "builtin:opt-tiny", "--batch", "2", "--sequence", "32")


def test_table2_stands_beside_the_counts_without_any_weights(cli):
    outcome = cli("profile", "--model", "facebook/opt-6.7b")
    assert outcome.code == 0
    assert outcome.err == "profiling\n"
    lines = [line.split("│")[1:-1] for line in outcome.out.splitlines() if "│" in line]
    cells = [[cell.strip() for cell in line] for line in lines]
    counted = [line[1:] for line in cells if line[0] == "- as Table 2 counts"]
    printed = [line[1:] for line in cells if line[0] == "- as Table 2 prints"]
    assert counted == printed
    assert [line[2] for line in printed] == ["13.32G", "11.06G", "8.40G", "5.74G", "3.08G"]
    assert [line[0] for line in cells].count("latentllm") == 4


@pytest.mark.parametrize(
    "changes",
    [
        ("--batch", "1"),
        ("--sequence", "1024"),
        ("--head-junction", "false", "--ratio", "0.2"),
        ("--method", "svd", "--ratio", "0.2"),
    ],
)
def test_what_is_not_in_table2_has_no_row_of_it(cli, changes):
    outcome = cli("profile", "--model", "facebook/opt-6.7b", "--json", *changes)
    rows = json.loads(outcome.out)["rows"]
    for row in rows[1:] if changes[0].startswith(("--head", "--method")) else rows:
        assert row["table2"] is None


def test_json_holds_exact_numbers(cli):
    outcome = cli("profile", "--model", "facebook/opt-6.7b", "--json", "--ratio", "0.2")
    document = json.loads(outcome.out)
    dense, small = document["rows"]
    assert (document["batch"], document["sequence"], document["dtype"]) == (4, 2048, "bfloat16")
    assert dense["parameters"] == 6658473984
    assert dense["bytes"] == 2 * dense["parameters"]
    assert dense["macs"] == (32 * 12 * 4096**2 + 50272 * 4096) * 8192
    assert dense["flops"] == 2 * dense["macs"]
    assert dense["cache_bytes"] == 2 * 32 * 4096 * 8192 * 2
    assert small["method"] == "latentllm"
    assert small["latent_cache_bytes"] < small["cache_bytes"] == dense["cache_bytes"]
    assert small["table2"]["printed"] == published_table2()[0.2]
    assert small["measured"] is None


def test_markdown_is_a_table(cli):
    outcome = cli(*TINY, "--method", "svd", "latentllm", "--ratio", "0.3", "--markdown")
    title, empty, *table = outcome.out.splitlines()
    assert title.startswith("builtin:opt-tiny, 2 x 32 tokens")
    assert empty == ""
    assert len(table) == 5
    assert len({line.count("|") for line in table}) == 1
    assert table[3].startswith("| svd | 30% |")


def test_measuring_adds_speed_and_memory(cli):
    measured = ("--measure", "--device", "cpu", "--dtype", "float32", "--runs", "1")
    outcome = cli(*TINY, *measured, "--ratio", "0.3", "--json")
    assert outcome.code == 0
    for row in json.loads(outcome.out)["rows"]:
        assert row["measured"]["prefill"] > 0
        assert row["measured"]["decode"] > 0
        assert row["measured"]["peak_bytes"] > row["bytes"]
    assert "decode tokens/s" in cli(*TINY, *measured, "--ratio", "0.3").out


def test_a_model_too_large_says_so_in_its_row(cli):
    arguments = ("--measure", "--device", "cpu", "--ratio", "0.2")
    outcome = cli("profile", "--model", "facebook/opt-175b", *arguments)
    assert outcome.code == 0
    assert outcome.out.count("does not fit") == 2


def test_the_sequence_is_at_most_what_the_model_has_positions_for(cli):
    outcome = cli("profile", "--model", "FacebookAI/roberta-base", "--ratio", "0.2", "--json")
    assert json.loads(outcome.out)["sequence"] == 514


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--model", "facebook/opt-6.7"], "cannot get the model 'facebook/opt-6.7'"),
        (["--model", "./absent"], "no such file or folder: ./absent"),
        (["--method", "latentlm"], "did you mean latentllm"),
        (["--ratio", "1"], "--ratio: 1.0 is outside its range"),
        (["--ratio", "0.999"], "leaves no rank"),
        (["--batch", "0"], "--batch: 0 is outside its range"),
        (["--sequence", "0"], "--sequence: 0 is outside its range"),
        (["--sequence", "100000"], "positions; pass --sequence"),
        (["--runs", "0", "--measure"], "--runs: 0 is outside its range"),
        (["--measure", "--device", "tpu"], "device 'tpu' cannot be used here"),
        (["--measure", "--sequence", "8"], "--sequence must be above"),
        (["--scope", "vision"], "has no vision tower"),
        (["--json", "--markdown"], "not allowed with argument"),
        (["--method", "svd", "--head-junction", "false"], "is an option of latentllm"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line(cli, arguments, part, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    outcome = cli("profile", "--model", "builtin:opt-tiny", *arguments)
    assert outcome.code == (3 if "opt-6.7" in part else 2)
    assert part in outcome.err
    assert outcome.err.removeprefix("profiling\n").count("\n") == 1
    assert outcome.out == ""
