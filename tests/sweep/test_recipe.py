"""A recipe file: what it means, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli.main import main
from harness.errors import UsageError
from harness.support.yaml_lines import MAX_BYTES
from harness.sweep.recipe_file import read_recipe, requests

GOOD = """
models: [builtin:opt-tiny]
methods: [svd, {name: asvd-l2, options: {junction: right}}]
ratios: [0.1, 0.3]
seeds: [0, 1]
tasks: [wikitext2=text.txt]
calibration: {text: other.txt, samples: 2, length: 16}
"""


@pytest.fixture
def recipe(tmp_path):
    def write(text):
        path = tmp_path / "recipe.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def cells(path):
    return requests(read_recipe(path), Path("out"))


def test_a_recipe_is_the_product_of_its_axes_with_the_dense_reference_first_and_once(recipe):
    dense, *others = cells(recipe(GOOD))
    assert (dense.methods, dense.ratios) == ({}, ())
    axes = [(*one.methods, *one.ratios, one.calibration.seed) for one in others]
    assert sorted(axes) == [
        (method, ratio, seed)
        for method in ("asvd-l2", "svd")
        for ratio in (0.1, 0.3)
        for seed in (0, 1)
    ]
    assert {one.output for one in others} == {Path("out")}
    (task,) = others[0].tasks
    assert (task.name, task.data) == ("wikitext2", "text.txt")
    assert (others[0].calibration.samples, others[0].calibration.length) == (2, 16)


def test_overrides_change_the_cells_they_match_and_the_last_one_wins(recipe):
    text = (
        GOOD
        + """
overrides:
  - {when: {method: svd}, set: {batch_size: 2, options: {junction: right}}}
  - {when: {method: svd, ratio: 0.3}, set: {batch_size: 1}}
  - {when: {seed: 1}, set: {skip: true}}
"""
    )
    found = {(*one.methods, *one.ratios): one for one in cells(recipe(text))[1:]}
    assert {one: request.batch_size for one, request in found.items()} == {
        ("svd", 0.1): 2,
        ("svd", 0.3): 1,
        ("asvd-l2", 0.1): 8,
        ("asvd-l2", 0.3): 8,
    }
    assert found["svd", 0.3].methods == {"svd": {"junction": "right"}}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["a recipe is a mapping"]),
        ("- 1", ["a recipe is a mapping"]),
        ("modles: [a]\ntasks: [b]", [":1:", "'modles'", "did you mean models"]),
        (GOOD.replace("samples", "sampels"), [":7:", "'sampels'", "did you mean samples"]),
        (GOOD.replace("0.3]", "1.3]"), [":4:", "ratios"]),
        (GOOD.replace("ratios: [0.1, 0.3]", ""), ["methods and ratios go together"]),
        (GOOD + "output: /etc", ["'output'"]),
        ("models: a\ntasks: [b]", [":1: models: should be a list, e.g. [one, two], got 'a'"]),
        ("models: [3]\ntasks: [b]", [":1: models.0: should be a mapping"]),
        (GOOD + "ratios: [0.2]", [":8:", "'ratios' twice"]),
        (GOOD.replace("svd,", "svdd,"), ["unknown method 'svdd'", "svd"]),
        (GOOD.replace("junction", "junctoin"), ["junctoin", "junction"]),
        (GOOD + "overrides: [{when: {method: x}, set: {skip: true}}]", ["matches no cell"]),
        ("a: &x [1]\nb: [*x, *x]", [":1:", "an anchor"]),
        ("b: *x", [":1:", "an alias"]),
        ("a: !!python/object/apply:os.system ['true']", [":1:", "a tag"]),
        ("a: [1", ["recipe.yaml:"]),
        ("[" * 5000, ["nested too deeply"]),
        ("x" * (MAX_BYTES + 1), ["larger than"]),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place_and_fix(recipe, text, parts):
    with pytest.raises(UsageError) as error:
        cells(recipe(text))
    for part in parts:
        assert part in str(error.value)


def test_a_recipe_that_is_not_there_is_said_so(tmp_path):
    with pytest.raises(UsageError, match="there is no file"):
        read_recipe(tmp_path / "none.yaml")


def test_plan_shows_the_cells_and_which_are_done(recipe, model_folder, texts, tmp_path, capsys):
    text = f"""
models: [{model_folder("llama")}]
methods: [svd]
ratios: [0.3]
tasks:
  - {{name: wikitext2, data: {texts / "evaluation.txt"}, options: {{window: 32}}}}
calibration: {{text: {texts / "calibration.txt"}, samples: 4, length: 16}}
"""
    plan = ["plan", str(recipe(text)), "--output", str(tmp_path / "results")]
    assert main(plan) == 0
    assert "2 cells, 0 done, 2 to run" in capsys.readouterr().out
    run = ["run", "--model", str(model_folder("llama")), "--method", "svd", "--window", "32"]
    run += ["--tasks", f"wikitext2={texts / 'evaluation.txt'}", "--samples", "4", "--length", "16"]
    run += ["--calibration", str(texts / "calibration.txt")]
    assert main([*run, "--output", str(tmp_path / "results")]) == 0
    capsys.readouterr()
    assert main(plan) == 0
    assert "2 cells, 2 done, 0 to run" in capsys.readouterr().out
