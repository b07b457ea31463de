from __future__ import annotations

import json
from collections import Counter
from importlib.resources import files

import pytest

from leaderboards.numbers import rounded
from leaderboards.published import beside, paper_model, published, source

DOCUMENT = json.loads(files("leaderboards").joinpath("published.json").read_text("utf-8"))


def test_every_published_row_can_be_looked_up():
    rows = DOCUMENT["compressed"]
    assert len(rows) == 972
    for row in rows:
        found = published(row["model"], row["method"], row["ratio"], row["task"], row.get("slice"))
        assert found is not None
        assert (found.value, found.metric, found.table) == (
            row["value"],
            row["metric"],
            row["table"],
        )


def test_every_published_dense_row_can_be_looked_up():
    for row in DOCUMENT["dense"]:
        found = published(row["model"], "dense", 0.0, row["task"], row.get("slice"))
        assert found is not None
        assert found.value == row["value"]


def test_no_two_rows_claim_one_place():
    rows = DOCUMENT["compressed"]
    keys = Counter((r["model"], r["method"], r["ratio"], r["task"], r.get("slice")) for r in rows)
    assert set(keys.values()) == {1}


def test_every_perplexity_row_stands_beside_the_same_protocol_only():
    rows = [row for row in DOCUMENT["compressed"] if row["metric"] == "perplexity_token"]
    assert len(rows) == 720
    for row in rows:
        where = (f"any/{row['model'].lower()}", row["method"], row["ratio"], row["task"])
        assert beside(*where, "perplexity_token@2048") == row["value"]
        assert beside(*where, "perplexity_token@512") is None
        assert beside(*where, "perplexity_token") is None


OURS = {
    "scienceqa": "accuracy[prompt=direct,parse=letter,max_new_tokens=16]",
    "textvqa": "vqa_accuracy[prompt=short,ocr=off,max_new_tokens=16]",
}


def test_every_accuracy_row_stands_beside_ours_as_a_share():
    rows = [row for row in DOCUMENT["compressed"] if row["metric"] == "accuracy"]
    assert len(rows) == 252
    for row in rows:
        where = (f"any/{row['model']}", row["method"], row["ratio"], row["task"])
        if row["model"] == "LLaVA-7B":
            where = ("llava-hf/llava-v1.6-vicuna-7b-hf", *where[1:])
        part = row.get("slice")
        metric = OURS[row["task"]]
        assert rounded(beside(*where, metric, part), metric, "questions") == f"{row['value']:.2f}"
        assert beside(*where, "accuracy", part) is None
        assert beside(*where, "perplexity_token@2048", part) is None


@pytest.mark.parametrize(
    ("metric", "stands"),
    [
        ("vqa_accuracy[prompt=short,ocr=off,max_new_tokens=16]", True),
        ("vqa_accuracy[max_new_tokens=32,ocr=off]", True),
        ("vqa_accuracy[prompt=short,ocr=on,max_new_tokens=16]", False),
        ("vqa_accuracy[max_new_tokens=16]", False),
        ("vqa_accuracy", False),
        ("accuracy[prompt=direct,ocr=off]", False),
        ("exact_match[ocr=off]", False),
    ],
)
def test_the_papers_textvqa_stands_beside_the_vqa_accuracy_without_ocr_tokens(metric, stands):
    found = beside("Qwen/Qwen2.5-VL-7B-Instruct", "latentllm", 0.1, "textvqa", metric)
    assert found == (pytest.approx(0.8085) if stands else None)


def test_the_whole_has_one_value_under_both_names():
    whole = published("LLaVA-7B", "svd", 0.1, "scienceqa")
    assert whole
    assert whole == published("LLaVA-7B", "svd", 0.1, "scienceqa", "Avg")


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        *((f"facebook/opt-{size.lower()}", f"OPT-{size}") for size in ("125M", "350M", "1.3B")),
        *((f"facebook/opt-{size.lower()}", f"OPT-{size}") for size in ("2.7B", "6.7B", "13B")),
        *((f"Qwen/Qwen3-{size}", f"Qwen3-{size}") for size in ("0.6B", "1.7B", "4B", "8B")),
        ("Qwen/Qwen2.5-VL-3B-Instruct", "Qwen2.5-VL-3B-Instruct"),
        ("Qwen/Qwen2.5-VL-7B-Instruct@abc", "Qwen2.5-VL-7B-Instruct"),
        ("liuhaotian/llava-v1.6-vicuna-7b", "LLaVA-7B"),
        ("llava-hf/llava-v1.6-vicuna-7b-hf", "LLaVA-7B"),
        ("/models/llava-v1.6-vicuna-7b-hf@main", "LLaVA-7B"),
        ("llava-hf/llava-v1.6-vicuna-13b-hf", None),
        ("llava-hf/llava-1.5-7b-hf", None),
        ("facebook/opt-125m@27dcfa74d334bc871f3234de431e71c6eeba5dd6", "OPT-125M"),
        ("/models/opt-125m/", "OPT-125M"),
        ("opt-125m", "OPT-125M"),
        ("facebook/opt-30b", None),
        ("Qwen/Qwen3-0.6B-Base", None),
        ("builtin:opt-125m", None),
        ("", None),
    ],
)
def test_references_map_to_the_papers_names(reference, name):
    assert paper_model(reference) == name


def test_the_source_is_named():
    assert source().startswith("LatentLLM")
