"""``--engine``: which there are, and what is said where one cannot be had."""

from __future__ import annotations

import sys

import pytest

from harness.cli.main import main
from harness.errors import UsageError
from harness.sweep.engines.engine import engines


def test_the_engines_are_known_without_importing_one():
    assert {"local", "ray", "slurm"} <= set(engines.names())


@pytest.mark.parametrize(("engine", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_an_engine_that_is_not_installed_names_the_fix_before_any_work(
    recipe, tmp_path, monkeypatch, capsys, engine, package
):
    monkeypatch.delitem(sys.modules, f"harness.sweep.engines.{engine}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    output = tmp_path / "results"
    assert main(["sweep", str(recipe), "--output", str(output), "--engine", engine]) == 2
    assert f"pip install 'harness[{engine}]'" in capsys.readouterr().err
    assert not output.exists()


def test_a_misspelt_engine_is_told_the_near_ones():
    with pytest.raises(UsageError, match="unknown engine 'slrum'; did you mean slurm"):
        engines.get("slrum")
