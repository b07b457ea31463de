"""House rules that no linter knows: few loose modules, short functions, plain names, one face."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import harness.plugin

ROOT = Path(__file__).parents[1]
PACKAGES = ("harness", "compressors", "tasks", "leaderboards")
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
NAMELESS = {"one", "found", "some"}
"""Names of locals that say nothing of what they hold."""


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_few_modules_are_loose():
    loose = {path.stem for path in (ROOT / "harness").glob("*.py")} - {"__init__"}
    assert loose == {"api", "errors", "plugin"}


def test_no_function_is_longer_than_a_screen():
    long = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in FILES
        for node in functions(path)
        if node.end_lineno - node.lineno >= 60
    ]
    assert long == []


def test_locals_are_named_after_what_they_hold():
    nameless = []
    for path in FILES:
        for node in ast.walk(tree(path)):
            name = node.id if isinstance(node, ast.Name) else getattr(node, "arg", None)
            if name in NAMELESS:
                nameless.append(f"{path.relative_to(ROOT)}:{node.lineno}: {name}")
    assert nameless == []


def test_the_algebra_knows_no_modules_of_torch():
    for path in sorted((ROOT / "harness" / "algebra").glob("*.py")):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ImportFrom):
                names = {f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Import):
                names = {alias.name for alias in node.names}
            else:
                continue
            assert not any(name.startswith("torch.nn") for name in names), path


def test_the_public_face_is_what_it_says():
    face = tree(ROOT / "harness" / "plugin.py")
    (typed,) = (node for node in face.body if isinstance(node, ast.If))
    promised = {alias.name: node.module for node in typed.body for alias in node.names}
    assert promised == harness.plugin._HOMES
    assert sorted(harness.plugin.__all__) == sorted(promised)


@pytest.mark.parametrize("name", harness.plugin.__all__)
def test_a_public_name_is_there_and_its_module_documented(name):
    assert getattr(harness.plugin, name) is not None
    pages = "".join(page.read_text("utf-8") for page in (ROOT / "docs" / "api").glob("*.md"))
    home = harness.plugin._HOMES[name]
    assert f":: {home}\n" in pages or f":: {home}.{name}\n" in pages


def test_an_absent_name_is_an_error():
    with pytest.raises(AttributeError, match="nowhere"):
        _ = harness.plugin.nowhere
