"""A recipe file: many cells in one readable page.

>>> recipe = read_recipe(Path("recipe.yaml"))
>>> cells = requests(recipe, Path("results"))
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from harness.errors import UsageError, unknown
from harness.records.document import Document
from harness.support.yaml_lines import YamlFile, read_yaml
from harness.sweep.matrix import requests
from harness.sweep.recipe import Recipe

__all__ = ["Recipe", "parse_recipe", "read_recipe", "requests"]

_IN_YAML = {
    "tuple_type": "should be a list, e.g. [one, two]",
    "model_type": "should be a mapping, e.g. {name: one}",
    "dict_type": "should be a mapping, e.g. {key: value}",
}
"""What people who write YAML call it, by pydantic's kind of error."""
NAMED = ("models", "methods", "tasks")
"""Lists whose entries may be a bare name."""


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe; names in it are looked up only by ``requests``.

    Raises:
        UsageError: it is not a sound recipe; names the line and the fix.
        InfrastructureError: the file cannot be read.
    """
    return parse_recipe(read_yaml(path))


def parse_recipe(file: YamlFile) -> Recipe:
    """The recipe in ``file``; raises as ``read_recipe`` does."""
    if not isinstance(file.value, Mapping):
        raise UsageError(f"{file.path}:1: a recipe is a mapping; start with 'models:'")
    try:
        return Recipe.model_validate(
            {key: _entries(key, value) for key, value in file.value.items()}
        )
    except ValidationError as error:
        raise _explained(file, error) from error


def _entries(key: str, value: Any) -> Any:
    if key not in NAMED or not isinstance(value, list):
        return value
    return [_entry(key, item) if isinstance(item, str) else item for item in value]


def _entry(key: str, text: str) -> dict[str, str]:
    name, equals, data = text.partition("=")
    return {"name": name, "data": data} if key == "tasks" and equals else {"name": text}


def _explained(file: YamlFile, error: ValidationError) -> UsageError:
    # A wrong key is the cause where a missing one is the consequence.
    errors = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    first = errors[0]
    place = first["loc"]
    where = file.where(place)
    if first["type"] == "extra_forbidden":
        *around, name = place
        owner = ".".join(part for part in around if isinstance(part, str)) or "the recipe"
        hint = unknown(f"key of {owner}", str(name), _document_at(tuple(around)).model_fields)
        return UsageError(f"{where}: {hint}")
    name = ".".join(map(str, place)) or "recipe"
    message = _IN_YAML.get(first["type"], first["msg"].removeprefix("Value error, "))
    given = "" if isinstance(first["input"], Mapping) else f", got {first['input']!r}"
    return UsageError(f"{where}: {name}: {message[:1].lower()}{message[1:]}{given}; correct it")


def _document_at(place: tuple[str | int, ...]) -> type[Document]:
    document: type[Document] = Recipe
    for part in place:
        if isinstance(part, str):
            document = _document_in(document.model_fields[part].annotation) or document
    return document


def _document_in(annotation: Any) -> type[Document] | None:
    if isinstance(annotation, type) and issubclass(annotation, Document):
        return annotation
    return next(
        (document for part in get_args(annotation) if (document := _document_in(part))), None
    )
