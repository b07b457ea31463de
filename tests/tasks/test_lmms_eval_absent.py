"""``lmms-eval:`` tasks where lmms-eval is not installed, and what needs no library."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from harness.cli.options import split_task
from harness.errors import UsageError
from harness.evaluation.task import find_task, plugin_name
from tasks.lmms_eval import isolation, plugin, settings, task
from tasks.lmms_eval.task import LmmsEvalConfig


@pytest.mark.parametrize("missing", ["lmms_eval", "loguru", "tenacity"])
@pytest.mark.parametrize("name", ["lmms-eval:scienceqa", "lmms-eval:my.yaml"])
def test_absence_names_the_command(monkeypatch, missing, name) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(UsageError, match=r"is not installed.*pip install.*\[vlm\].*--no-deps"):
        plugin.prepare(name, None, LmmsEvalConfig())


def test_prefix_finds_the_plugin() -> None:
    for name in ("lmms-eval:scienceqa", "lmms-eval:some/file.yaml", "lmms-eval"):
        assert plugin_name(name) == "lmms-eval"
        assert find_task(name) is plugin
    assert plugin_name("lmms-eval-like") == "lm-eval"
    assert split_task("lmms-eval:some/file.yaml") == ("lmms-eval:some/file.yaml", None)
    assert split_task("lmms-eval:scienceqa=data") == ("lmms-eval:scienceqa", "data")


@pytest.mark.parametrize("name", ["lmms-eval", "lmms-eval:"])
def test_a_name_is_needed(name) -> None:
    with pytest.raises(UsageError, match="lmms-eval:NAME"):
        plugin.prepare(name, None, LmmsEvalConfig())


@pytest.mark.parametrize("options", [{"max_new_tokens": 0}, {"bootstrap_iters": -1}])
def test_counts_are_checked(options) -> None:
    with pytest.raises(UsageError, match="at least"):
        LmmsEvalConfig(**options)


@pytest.mark.parametrize("module", [task, settings, isolation])
def test_what_the_plugin_needs_imports_no_library(module) -> None:
    tree = ast.parse(Path(module.__file__).read_text())
    names = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
    names |= {one.name for node in tree.body if isinstance(node, ast.Import) for one in node.names}
    assert not {"lmms_eval", "loguru", "tenacity"} & {str(name).split(".")[0] for name in names}
