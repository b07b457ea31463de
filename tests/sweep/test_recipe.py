"""A recipe file: what it means, and what it refuses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.cli.main import main
from harness.errors import UsageError
from harness.support.yaml_lines import MAX_BYTES, read_yaml
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
        ("models: a\ntasks: [b]", [":1:1: models: should be a list, e.g. [one, two], got \"a\""]),
        ("models: [3]\ntasks: [b]", [":1:10: models.0: should be a mapping"]),
        (GOOD + "ratios: [0.2]", [":8:", "'ratios' stands here twice"]),
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("seeds: [0, 1]", "seeds: [true]"), '5:9: seeds.0: should be a whole number'),
        (("seeds: [0, 1]", "seeds: [1:30]"), '5:9: seeds.0: should be a whole number'),
        (("seeds: [0, 1]", "seeds: [010]"), 'got "010"'),
        (("seeds: [0, 1]", "seeds: [0x10]"), 'got "0x10"'),
        (("seeds: [0, 1]", "seeds: [1.0]"), "got 1.0"),
        (("seeds: [0, 1]", "seeds: ['1']"), 'got "1"'),
        (("seeds: [0, 1]", "seeds: [-1]"), "0 to 4,294,967,295"),
        (("seeds: [0, 1]", f"seeds: [{10**30}]"), "0 to 4,294,967,295"),
        (("0.1, 0.3", "0.1, .nan"), "ratios.1: "),
        (("0.1, 0.3", "0.1, .inf"), "ratios.1: "),
        (("0.1, 0.3", "0.1, 1"), "4:15: ratios.1: 1 is outside its range: 0 or more, less than 1"),
        (("samples: 2", "samples: true"), "7:32: calibration.samples: should be a whole number"),
        (("samples: 2", "samples: yes"), 'got "yes"'),
        (("length: 16", "length: 1"), "calibration.length: 1 is outside its range: 2 to"),
        (("opt-tiny", "opt-tinny"), "2:10: unknown model 'builtin:opt-tinny'; did you mean"),
        (("tasks:", "dtype: float31\ntasks:"), "did you mean float32"),
        (("tasks:", "device: gpu\ntasks:"), "'gpu' is no torch device"),
        (("junction: right", "junction: rihgt"), "3:42: option 'junction' of asvd-l2"),
        (("junction: right", "multiple: '8'"), "3:42: option 'multiple' of asvd-l2"),
        (("junction: right", "multiple: true"), "3:42: option 'multiple' of asvd-l2"),
        (("junction: right", "multiple: 0"), "3:42: option 'multiple' of asvd-l2"),
        (("junction: right", "multiple: [[1]]"), "3:42: option 'multiple' of asvd-l2"),
        (("wikitext2=", "wikitext2=\\x01"), None),
        (("[wikitext2=text.txt]", '["wiki\x01"]'), "6:14: the control character '\\x01'"),
        (("[wikitext2=text.txt]", '["wiki\\x07"]'), "6:9: the control character '\\x07'"),
        (("[wikitext2=text.txt]", '["wiki\\ud800"]'), "6:9: the control character '\\ud800'"),
    ],
)  # fmt: skip
def test_values_are_of_the_core_schema_and_in_their_range(recipe, change, message):
    path = recipe(GOOD.replace(*change))
    if message is None:
        read_recipe(path)
        return
    with pytest.raises(UsageError) as error:
        read_recipe(path)
    assert message in str(error.value)
    assert all(line.startswith(f"{path}:") for line in str(error.value).splitlines())


def test_plain_words_and_numbers_mean_what_they_say(tmp_path):
    path = tmp_path / "plain.yaml"
    path.write_text(
        "a: [yes, no, on, off, 2020-01-01, 1_000, 0o17, 1:30, 09, =, '1']\n"
        "b: [true, FALSE, null, ~, 1e-3, -2, +.5, 3., 0, .inf]\n"
    )
    values = read_yaml(path).value
    assert all(isinstance(value, str) for value in values["a"])
    assert values["b"] == [True, False, None, None, 0.001, -2, 0.5, 3.0, 0, float("inf")]


def test_all_mistakes_are_told_in_one_go_each_at_its_place(recipe, cli):
    path = recipe(
        """
models: [builtin:opt-tinny]
methods: [svd, {name: svdd}]
ratios: [0.3, 2]
seeds: [true]
tasks: [{name: wikitext2, limits: 3}]
"""
    )
    told = cli("plan", path)
    assert told.code == 2
    places = [line.partition("recipe.yaml:")[2].split(":")[:2] for line in told.err.splitlines()]
    assert places == [["2", "10"], ["3", "17"], ["4", "15"], ["5", "9"], ["6", "27"]]


def test_an_override_that_no_cell_matches_says_what_there_is(recipe):
    text = GOOD + "overrides:\n  - {when: {ratio: 0.4}, set: {skip: true}}"
    with pytest.raises(UsageError, match=r":9:13: .* no ratio is 0.4; did you mean 0.3"):
        read_recipe(recipe(text))


def test_an_override_sets_only_options_that_its_cells_have(recipe):
    text = GOOD + "overrides:\n  - {when: {method: svd}, set: {options: {damping: 1}}}"
    with pytest.raises(UsageError, match=r":9:43: unknown option of svd 'damping'"):
        read_recipe(recipe(text))


def test_data_that_is_not_there_is_named_with_the_place_of_its_task(recipe, cli, tmp_path):
    path = recipe(GOOD.replace("text.txt", "./nowhere.txt"))
    told = cli("plan", path, "--output", tmp_path / "results")
    assert told.code == 2
    assert f"{path}:6:9: " in told.err
    assert "no such file or folder: ./nowhere.txt" in told.err


def test_cells_that_differ_in_the_seed_alone_share_a_row(recipe, cli, texts, tmp_path):
    text = GOOD.replace("text.txt", str(texts / "evaluation.txt"))
    text = text.replace("other.txt", str(texts / "calibration.txt")).replace(
        "[0, 1]", "[0, 1, 2, 7]"
    )
    told = cli("plan", recipe(text), "--output", tmp_path / "results")
    assert told.code == 0, told.err
    assert told.out.count("0-2, 7") == 4
    assert "17 cells" in told.err


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_a_recipe_has_to_be_a_regular_file(cli, tmp_path, kind):
    path = tmp_path / "recipe.yaml"
    os.mkfifo(path) if kind == "pipe" else path.mkdir()
    told = cli("plan", path)
    assert told.code == 2
    assert {"pipe": "is not a regular file", "folder": "is a folder"}[kind] in told.err


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
