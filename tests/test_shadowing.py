"""Files in the working folder that bear the name of a package of ours."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import distribution

import pytest

from harness.plugins.shadowing import hiding_file
from tests.helpers.plugin_packages import install

NAMES = ("compressors", "leaderboards", "tasks")


@pytest.fixture
def folder(tmp_path):
    """A folder whose files leave a mark when they are imported."""
    working = tmp_path / "working"
    working.mkdir()
    for name in NAMES:
        source = f"import pathlib\npathlib.Path({str(tmp_path / 'executed')!r}).touch()\n"
        (working / f"{name}.py").write_text(source)
    yield working
    assert not (tmp_path / "executed").exists()


def harness(folder, *arguments, python=(), **environment):
    return subprocess.run(
        [sys.executable, *python, "-m", "harness.cli.main", *arguments],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "name", "hidden"),
    [
        (("run", "--model", "builtin:opt-tiny"), "tasks", "task 'wiki-excerpt' of harness"),
        (
            ("run", "--model", "builtin:opt-tiny", "--method", "svd"),
            "compressors",
            "method 'svd' of harness",
        ),
        (("leaderboard",), "leaderboards", "command 'leaderboard' of harness"),
    ],
)
def test_the_file_that_hides_a_package_is_named_and_not_executed(folder, arguments, name, hidden):
    for other in set(NAMES) - {name}:
        (folder / f"{other}.py").unlink()
    done = harness(folder, *arguments)
    assert done.returncode == 2
    assert hidden in done.stderr
    assert f"is hidden by {folder / name}.py" in done.stderr
    assert "rename that, or run in another folder" in done.stderr


def test_the_command_itself_does_not_look_into_the_working_folder(folder):
    done = harness(folder, "leaderboard", python=["-P"])
    assert done.returncode == 2
    assert "there is no folder results" in done.stderr


def test_a_folder_that_is_a_package_hides_ours_and_one_that_is_none_does_not(tmp_path, monkeypatch):
    ours = distribution("harness")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tasks", raising=False)
    (tmp_path / "tasks").mkdir()
    assert hiding_file("tasks.wikitext2", ours) is None
    (tmp_path / "tasks" / "__init__.py").touch()
    assert hiding_file("tasks.wikitext2", ours) == tmp_path / "tasks"


def test_a_copy_of_the_package_hides_nothing(tmp_path, monkeypatch):
    (tmp_path / "tasks").mkdir()
    for file in ("__init__.py", "wikitext2.py"):
        (tmp_path / "tasks" / file).touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tasks", raising=False)
    assert hiding_file("tasks.wikitext2", distribution("harness")) is None


@pytest.fixture
def acme(tmp_path, monkeypatch):
    """A distribution of one module, on ``sys.path``."""
    site = tmp_path / "site"
    install(site, "acme", {"harness.tests": {"square": "acme_square:plugin"}}, {"acme_square": ""})
    monkeypatch.syspath_prepend(site)
    return distribution("acme")


def test_a_single_module_is_hidden_by_any_other_file(acme, tmp_path, monkeypatch):
    assert hiding_file("acme_square", acme) is None
    (tmp_path / "acme_square.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert hiding_file("acme_square", acme) == tmp_path / "acme_square.py"


def test_an_editable_installation_is_where_its_path_file_says(tmp_path, monkeypatch):
    site, project = tmp_path / "site", tmp_path / "project"
    project.mkdir()
    (project / "acme_square.py").touch()
    install(site, "acme", {"harness.tests": {"square": "acme_square:plugin"}})
    (site / "acme.pth").write_text(f"import os\n{project}\n")
    (site / "acme-1.0.dist-info" / "RECORD").write_text("acme.pth,,\n")
    monkeypatch.syspath_prepend(project)
    monkeypatch.syspath_prepend(site)
    acme = distribution("acme")
    assert hiding_file("acme_square", acme) is None
    (tmp_path / "acme_square.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert hiding_file("acme_square", acme) == tmp_path / "acme_square.py"


def test_what_is_nowhere_is_not_hidden(acme):
    assert hiding_file("acme_round", acme) is None
