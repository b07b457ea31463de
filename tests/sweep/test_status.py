"""What is known of a recipe's cells before any of them runs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from harness.cli.main import main
from harness.errors import AssetError
from harness.experiments import cells, resolve
from harness.experiments.resolve import Resolver, once
from harness.sweep.cell import plan_of
from harness.sweep.recipe_file import read_recipe, requests
from harness.sweep.status import cell_statuses

MORE = "seeds: [0, 1]"


@pytest.fixture
def counted(monkeypatch) -> Counter[str]:
    """How often names were looked up."""
    count: Counter[str] = Counter()

    def watch(name):
        real = getattr(resolve, name)

        def counting(argument):
            count[name] += 1
            return real(argument)

        monkeypatch.setattr(resolve, name, counting)

    for name in ("resolve_model", "resolve_calibration", "prepared_task"):
        watch(name)
    return count


def test_each_model_text_and_task_is_looked_up_once_for_all_cells(small_recipe, tmp_path, counted):
    asked = requests(read_recipe(small_recipe("[0.1, 0.3, 0.5]", MORE)), tmp_path / "results")
    entries = cell_statuses(asked)
    assert len(entries) == 7
    assert counted == {"resolve_model": 1, "resolve_calibration": 1, "prepared_task": 1}
    for entry, request in zip(entries, asked, strict=True):
        assert entry.cell.run_id == plan_of(request)[1].run_id
        assert entry.spec == entry.cell.spec


def test_each_model_as_it_is_is_named_once_for_all_cells(small_recipe, tmp_path, monkeypatch):
    named, real = Counter(), cells.cell_spec

    def counting(request, compression, task):
        named[compression.method.name] += 1
        return real(request, compression, task)

    monkeypatch.setattr(cells, "cell_spec", counting)
    asked = requests(read_recipe(small_recipe("[0.1, 0.3, 0.5]", MORE)), tmp_path / "results")
    entries = cell_statuses(asked)
    assert named == {"dense": 1, "svd": 6}
    assert {entry.cell.reference for entry in entries[1:]} == {entries[0].cell.run_id}


def test_nothing_is_remembered_between_calls(small_recipe, tmp_path, counted):
    asked = requests(read_recipe(small_recipe()), tmp_path / "results")
    cell_statuses(asked)
    cell_statuses(asked)
    assert counted["resolve_model"] == 2


def test_what_cannot_be_had_is_asked_for_once(small_recipe, tmp_path, monkeypatch):
    asked = []

    def absent(name):
        asked.append(name)
        raise AssetError(f"'{name}' cannot be had; fetch it")

    monkeypatch.setattr(resolve, "resolve_model", absent)
    entries = cell_statuses(requests(read_recipe(small_recipe("[0.1, 0.3]")), tmp_path / "results"))
    assert len(asked) == 1
    assert {entry.status for entry in entries} == {"missing"}
    assert {entry.folder for entry in entries} == {None}


def test_only_absence_is_remembered_among_failures():
    calls = []

    def fails(name):
        calls.append(name)
        raise ValueError(name)

    remembered = once(fails)
    for _ in "ab":
        with pytest.raises(ValueError, match="x"):
            remembered("x")
    assert calls == ["x", "x"]
    assert once(str.upper)("a") == "A"
    # True equals 1, but is another option of a task.
    assert [once(repr)(one) for one in (True, 1)] == ["True", "1"]
    resolver = Resolver()
    assert resolver.model is not Resolver().model


def test_plan_shows_costs_where_only_the_data_is_missing(
    small_recipe, tmp_path, texts, model_folder, capsys
):
    recipe = small_recipe()
    text = recipe.read_text()
    recipe.write_text(text.replace(str(texts / "calibration.txt"), "acme/absent"))
    assert main(["plan", str(recipe), "--output", str(tmp_path / "results")]) == 0
    shown = capsys.readouterr().out
    (missing,) = (line for line in shown.splitlines() if "to be fetched, then run" in line)
    assert "M" in missing
    assert missing.count("unknown") == 1
    assert "to be fetched: acme/absent" in shown
    recipe.write_text(text.replace(str(model_folder("opt")), "acme/absent"))
    assert main(["plan", str(recipe), "--output", str(tmp_path / "results")]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if "then run" in line]
    assert [row.count("unknown") for row in rows] == [5, 5]


def test_the_plan_of_this_project_names_every_cell(tmp_path, capsys):
    recipe = Path(__file__).parents[2] / ".ci" / "gate.yaml"
    assert main(["plan", str(recipe), "--output", str(tmp_path / "results")]) == 0
    shown = capsys.readouterr().out
    assert "18 cells, 0 done, 18 to run" in shown
    for name in (
        "builtin:opt-tiny",
        "builtin:qwen2.5-vl-tiny",
        "asvd-rootcov",
        "twinroot",
        "mini-scienceqa",
    ):
        assert name in shown
