"""What the documentation says, against what there is."""

from __future__ import annotations

import argparse
import re
import tomllib
from pathlib import Path

import pytest
import yaml

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


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.name)
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
