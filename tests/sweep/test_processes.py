"""A whole sweep with workers as users have them."""

from __future__ import annotations

import pytest

from harness.cli.main import main
from harness.sweep.engines.local import LocalEngine


def test_a_failing_cell_fails_alone_and_only_retry_runs_it_again(
    small_recipe, tmp_path, capsys, monkeypatch
):
    recipe, output = small_recipe("[0.999]"), tmp_path / "results"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    sweep = ["sweep", str(recipe), "--output", str(output)]
    assert main([*sweep, "--workers", "2"]) == 4
    error = capsys.readouterr().err.splitlines()[-1]
    assert "1 of 2 cells did not complete" in error
    assert "--retry-failed" in error
    before = {path: path.read_bytes() for path in output.glob("*.json")}
    assert len(before) == 2
    monkeypatch.setattr(LocalEngine, "run", lambda *_: pytest.fail("nothing was to be run"))
    assert main(sweep) == 4
    ran = []
    monkeypatch.setattr(
        LocalEngine, "run", lambda _, jobs, *__: ran.extend(jobs) or (one for one in ())
    )
    assert main([*sweep, "--retry-failed"]) == 4
    assert len(ran) == 1
    assert {path: path.read_bytes() for path in output.glob("*.json")} == before
    assert not list(output.glob(".sweep-*"))
