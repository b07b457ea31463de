"""Workers do not import what happens to lie in the working folder, only what is on the path."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.helpers.plugin_packages import METHOD, install
from tests.sweep.engines import fake_slurm

EXTRAS = [pytest.param(name, marks=pytest.mark.extras) for name in ("ray", "slurm")]


@pytest.fixture
def folder(tmp_path):
    """A working folder with files named as packages of ours, which leave a mark when imported."""
    working = tmp_path / "working"
    working.mkdir()
    for name in ("compressors", "leaderboards", "tasks"):
        source = f"import pathlib\npathlib.Path({str(tmp_path / 'executed')!r}).touch()\n"
        (working / f"{name}.py").write_text(source)
    return working


@pytest.fixture
def sweep(request, tmp_path, folder, recipe):
    """``harness sweep`` in that folder, as the command starts it."""

    def start(engine, path=recipe, **more):
        environment = os.environ | {"OMP_NUM_THREADS": "1"} | more
        if engine == "ray":
            pytest.importorskip("ray", reason="needs harness[ray]")
            request.getfixturevalue("alone_on_ray")
        if engine == "slurm":
            pytest.importorskip("submitit", reason="needs harness[slurm]")
            (tmp_path / "slurm").mkdir()
            jobs = fake_slurm.install(tmp_path / "slurm")
            environment["PATH"] = f"{jobs.parent / 'bin'}{os.pathsep}{os.environ['PATH']}"
            environment["FAKE_SLURM"] = str(jobs)
        command = ["sweep", str(path), "--output", "results", "--engine", engine]
        return subprocess.run(
            [sys.executable, "-P", "-m", "harness.cli.main", *command],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return start


@pytest.mark.parametrize("engine", ["local", *EXTRAS])
def test_files_named_as_our_packages_neither_hide_them_nor_are_executed(
    sweep, folder, tmp_path, engine
):
    done = sweep(engine)
    assert done.returncode == 0, done.stderr
    assert "2 cells complete" in done.stderr
    assert len(list((folder / "results").glob("*.json"))) == 2
    assert not (tmp_path / "executed").exists()


def test_a_plugin_on_pythonpath_works(sweep, folder, tmp_path, recipe):
    site = tmp_path / "site"
    entries = {"harness.compressors": {"acme": "acme_method:plugin"}}
    install(site, "acme", entries, {"acme_method": METHOD})
    own = tmp_path / "own.yaml"
    own.write_text(recipe.read_text().replace("methods: [svd]", "methods: [acme]"))
    done = sweep("local", own, PYTHONPATH=str(site))
    assert done.returncode == 0, done.stderr
    assert "2 cells complete" in done.stderr
    assert not (tmp_path / "executed").exists()
