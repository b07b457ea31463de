"""Command line, recipe and fetch make the same specification, which names records."""

from __future__ import annotations

import argparse

import pytest

from harness.cli import fetch, run
from harness.cli.request import request
from harness.errors import UsageError
from harness.records.document import digest
from harness.sweep.recipe_file import read_recipe, requests

QUESTIONS = "mini-scienceqa"
TEXTS = "wiki-excerpt"
# task, what is asked for, (text, samples, length, sampling, seed, self_samples)
ASKED = [
    (TEXTS, {}, ("c4-excerpt", 24, 512, "windows", 0, 0)),
    (TEXTS, {"seed": 3}, ("c4-excerpt", 24, 512, "windows", 3, 0)),
    (TEXTS, {"samples": 5, "length": 32}, ("c4-excerpt", 5, 32, "windows", 0, 0)),
    (TEXTS, {"self_samples": 2, "seed": 1}, ("c4-excerpt", 24, 512, "windows", 1, 2)),
    (TEXTS, {"text": "ptb"}, ("ptb", 24, 512, "windows", 0, 0)),
    (TEXTS, {"text": "x/y:z", "samples": 7}, ("x/y:z", 7, 512, "windows", 0, 0)),
    (
        TEXTS,
        {"text": "c4", "samples": 1, "length": 2, "self_samples": 9, "seed": 8},
        ("c4", 1, 2, "windows", 8, 9),
    ),
    (TEXTS, {"text": QUESTIONS}, (QUESTIONS, 64, None, "prompts", 0, 0)),
    (
        TEXTS,
        {"text": f"{QUESTIONS}=own.json", "samples": 6, "seed": 2},
        (f"{QUESTIONS}=own.json", 6, None, "prompts", 2, 0),
    ),
    (QUESTIONS, {}, (QUESTIONS, 64, None, "prompts", 0, 0)),
    (QUESTIONS, {"samples": 4, "seed": 5}, (QUESTIONS, 4, None, "prompts", 5, 0)),
    (QUESTIONS, {"length": 16, "self_samples": 3}, (QUESTIONS, 64, None, "prompts", 0, 0)),
    (QUESTIONS, {"text": "wikitext2"}, ("wikitext2", 24, 512, "windows", 0, 0)),
]
FIELDS = ("text", "samples", "length", "sampling", "seed", "self_samples")


def by_command_line(task, asked, *more):
    parser = argparse.ArgumentParser()
    run.add_arguments(parser)
    words = ["--model", "builtin:opt-tiny", "--method", "svd", "--tasks", task, *more]
    for name, value in asked.items():
        flag = "calibration" if name == "text" else name.replace("_", "-")
        words += [f"--{flag}", str(value)]
    return request(parser.parse_args(words)).calibration_for(task)


def by_recipe(task, asked, folder):
    path = folder / "recipe.yaml"
    own = ", ".join(f"{name}: {value}" for name, value in asked.items() if name != "seed")
    path.write_text(
        f"models: [builtin:opt-tiny]\nmethods: [svd]\nratios: [0.1]\ntasks: [{task}]\n"
        f"seeds: [{asked.get('seed', 0)}]\ncalibration: {{{own}}}\n",
        encoding="utf-8",
    )
    return requests(read_recipe(path), folder)[-1].calibration_for(task)


def by_fetch(task, asked):
    parser = argparse.ArgumentParser()
    fetch.add_arguments(parser)
    text = ["--calibration", asked["text"]] if "text" in asked else []
    (only,) = fetch.requested(parser.parse_args(["--tasks", task, *text]))
    return only.calibration_for(task)


@pytest.mark.parametrize(("task", "asked", "expected"), ASKED)
def test_all_ways_make_the_same_specification(tmp_path, task, asked, expected):
    specs = [by_command_line(task, asked), by_recipe(task, asked, tmp_path)]
    if not asked.keys() - {"text"}:  # fetch takes no more
        specs.append(by_fetch(task, asked))
    for spec in specs:
        assert spec.model_dump(mode="json") == dict(zip(FIELDS, expected, strict=True))
        assert digest(spec.model_dump(mode="json")) == digest(specs[0].model_dump(mode="json"))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, ("c4", 64, 2048, "documents", 0, 0)),
        ({"samples": 3, "length": 8, "seed": 4}, ("c4", 3, 8, "documents", 4, 0)),
        ({"text": "ptb"}, ("ptb", 64, 2048, "windows", 0, 0)),
        ({"text": QUESTIONS}, (QUESTIONS, 64, None, "prompts", 0, 0)),
    ],
)
def test_a_preset_replaces_the_defaults(asked, expected):
    spec = by_command_line(TEXTS, asked, "--preset", "paper")
    assert spec.model_dump(mode="json") == dict(zip(FIELDS, expected, strict=True))


@pytest.mark.parametrize("name", ["length", "self_samples"])
def test_questions_are_taken_whole(tmp_path, name):
    asked = {"text": QUESTIONS, name: 16}
    flag = name.replace("_", "-")
    with pytest.raises(UsageError, match=f"--{flag} is for texts; calibration questions are taken"):
        by_command_line(TEXTS, asked)
    with pytest.raises(UsageError, match=f"questions are taken whole; remove '{name}'"):
        by_recipe(TEXTS, asked, tmp_path)
