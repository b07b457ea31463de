"""What the documentation says, against what there is."""

from __future__ import annotations

import argparse
import ast
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import harness
from harness.cli.main import command_names, whole_parser
from harness.errors import (
    HarnessError,
    IncompleteError,
    InfrastructureError,
    NonFiniteError,
    UsageError,
)
from harness.support.yaml_lines import YamlFile
from harness.sweep import recipe as documents
from harness.sweep.recipe_file import parse_recipe, requests

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
FACE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "document",
    [one for one in vars(documents).values() if isinstance(one, type)
     and issubclass(one, documents.Document) and one.model_fields],
    ids=lambda document: document.__name__,
)  # fmt: skip
def test_the_page_on_recipes_names_every_key(document):
    page = text("docs/recipes.md")
    for key in document.model_fields:
        assert f"`{key}`" in page


def test_the_example_recipe_is_one():
    (example,) = re.findall(r"```yaml\n(.*?)```", text("docs/recipes.md"), re.DOTALL)
    recipe = parse_recipe(YamlFile(Path("recipe.yaml"), yaml.safe_load(example), {}))
    cells = requests(recipe, Path("results"))
    seeds = 3
    compressed = 2 * 3 * 2 * seeds  # models, methods at ratios without the skipped one, tasks
    assert len(cells) == 2 * 2 + compressed


def test_every_exit_code_of_an_error_is_explained():
    page = text("docs/exit-codes.md")
    for error in (HarnessError, UsageError, InfrastructureError, IncompleteError, NonFiniteError):
        assert f"| {error.exit_code} |" in page


@pytest.fixture(scope="module")
def options():
    """The options of each command."""
    (commands,) = (
        one for one in whole_parser()._actions if isinstance(one, argparse._SubParsersAction)
    )
    return {name: parser.format_help() for name, parser in commands.choices.items()}


@pytest.mark.parametrize("page", [*PAGES, *FACE], ids=lambda page: page.name)
def test_every_command_shown_exists(page, options):
    shown = re.findall(r"^(?:\$ )?harness (\S+)(.*)$", page.read_text("utf-8"), re.MULTILINE)
    for name, rest in shown:
        assert name in command_names()
        for option in re.findall(r"--[a-z-]+", rest):
            assert option in options[name] or name == "gate" or option == "--power"


def test_the_citation_is_of_this_version_and_its_format():
    citation = yaml.safe_load(text("CITATION.cff"))
    project = tomllib.loads(text("pyproject.toml"))["project"]
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= citation.keys()
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    (paper,) = citation["references"]
    assert {"type", "title", "authors", "year", "conference"} <= paper.keys()
    for person in paper["authors"]:
        assert person.keys() == {"family-names", "given-names"}


def anchors(page):
    """What a link into ``page`` may name: its headings, as GitHub and Sphinx spell them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", name.lower()).replace(" ", "-") for name in headings}


@pytest.mark.parametrize("page", [*PAGES, *FACE], ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_readme_fits_a_page():
    assert len((ROOT / "README.md").read_bytes()) <= 7 * 1024


def test_the_readme_has_the_commands_of_continuous_integration():
    for heading in ("Install and run", "Run the tests"):
        section = text("README.md").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
        (command, *_) = re.findall(r"^```bash\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
        assert command.startswith("pip install --constraint constraints.txt")


def test_the_python_of_the_readme_calls_what_there_is():
    (code,) = re.findall(r"```python\n(.*?)```", text("README.md"), re.DOTALL)
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    ours = [call for call in calls if ast.unparse(call.func).startswith("harness.")]
    assert ours
    for call in ours:
        function = getattr(harness, ast.unparse(call.func).removeprefix("harness."))
        keywords = {keyword.arg: keyword.value for keyword in call.keywords}
        inspect.signature(function).bind(*call.args, **keywords)


def test_every_page_is_in_the_table_of_contents():
    listed = re.findall(r"^([\w/-]+)$", text("docs/index.md"), re.MULTILINE)
    pages = {str(page.relative_to(ROOT / "docs").with_suffix("")) for page in PAGES}
    assert sorted(listed) == sorted(pages - {"index"})


ARCHITECTURE = text("docs/architecture.md")


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`([\w/.]+/[\w.]+)`", ARCHITECTURE))))
def test_the_architecture_names_files_that_exist(path):
    assert (ROOT / path).exists()


@pytest.mark.parametrize(
    ("name", "path"),
    sorted(set(re.findall(r"`(\w+)`\s\(`([\w/]+\.py)`\)", ARCHITECTURE))),
)
def test_the_architecture_names_functions_where_they_are(name, path):
    defined = (node for node in ast.parse(text(path)).body if hasattr(node, "name"))
    assert name in {node.name for node in defined}


def test_the_architecture_has_a_paragraph_on_every_room():
    rooms = {path.parent.name for path in ROOT.glob("harness/*/__init__.py")}
    described = re.findall(r"\*\*(\w+)\*\*", ARCHITECTURE)
    assert {*rooms, "compressors", "tasks", "leaderboards"} <= set(described)


def test_the_picture_of_the_rooms_is_what_its_script_draws():
    script = [sys.executable, str(ROOT / "docs/architecture.py")]
    drawn = subprocess.run(script, capture_output=True, text=True, check=True)
    assert drawn.stdout == text("docs/architecture.svg")
