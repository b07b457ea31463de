"""A recipe file: many cells in one readable page.

>>> recipe = read_recipe(Path("recipe.yaml"))
>>> cells = requests(recipe, Path("results"))
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from harness.errors import InputError
from harness.records.document import Document
from harness.support.yaml_lines import Place, YamlFile, read_yaml
from harness.sweep.matrix import requests
from harness.sweep.recipe import (
    MethodEntry,
    ModelEntry,
    Recipe,
    TaskEntry,
)
from harness.sweep.recipe_errors import schema_mistakes
from harness.sweep.recipe_names import (
    calibration_mistakes,
    device_mistakes,
    entry_mistakes,
    override_mistakes,
)

__all__ = ["Recipe", "parse_recipe", "read_recipe", "requests"]

D = TypeVar("D", bound=Document)

NAMED: Mapping[str, type[ModelEntry | MethodEntry | TaskEntry]] = {
    "models": ModelEntry,
    "methods": MethodEntry,
    "tasks": TaskEntry,
}
"""Lists whose entries may be a bare name."""


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe; whether data can be had is for the plan to see.

    Raises:
        UsageError: it is not a sound recipe; names the place of every mistake, and the fix.
        InfrastructureError: the file cannot be read.
    """
    return parse_recipe(read_yaml(path))


def parse_recipe(file: YamlFile) -> Recipe:
    """The recipe in ``file``; raises as ``read_recipe`` does."""
    if not isinstance(file.value, Mapping):
        raise InputError([f"{file.where(())}: a recipe is a mapping; start with 'models:'"])
    value = {key: _entries(key, part) for key, part in file.value.items()}
    mistakes: list[tuple[Place, str]] = []
    recipe = None
    try:
        recipe = _strictly(Recipe, value)
    except ValidationError as error:
        mistakes += schema_mistakes(error)
    named = list(_names(value))
    explained = {place for place, _ in named}
    mistakes = [mistake for mistake in mistakes if mistake[0] not in explained] + named
    if recipe:
        mistakes += _relations(recipe)
    if mistakes or recipe is None:
        ordered = sorted(mistakes, key=lambda mistake: file.mark(mistake[0]))
        raise InputError(f"{file.where(place)}: {_one_line(text)}" for place, text in ordered)
    return recipe.read_from(file)


def _strictly(document: type[D], value: Any) -> D:
    # As JSON, which has lists for tuples: nothing else is another type's value in disguise.
    return document.model_validate_json(json.dumps(value), strict=True)


def _names(value: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    """What is wrong with entries that are sound by themselves, whatever the rest is."""
    for key, document in NAMED.items():
        entries = value.get(key)
        for at, entry in enumerate(entries if isinstance(entries, list) else ()):
            options = entry.get("options") if isinstance(entry, dict) else None
            given = options if isinstance(options, dict) else {}
            try:
                sound = _strictly(document, entry | {"options": {}} if given else entry)
            except ValidationError:
                continue
            for place, text in entry_mistakes(key, sound, given):
                yield (key, at, *place), text


def _relations(recipe: Recipe) -> Iterator[tuple[Place, str]]:
    """What is wrong with parts that are sound, but not together."""
    yield from device_mistakes(recipe.device)
    for place, text in calibration_mistakes(recipe.calibration):
        yield ("calibration", *place), text
    for at, override in enumerate(recipe.overrides):
        for place, text in override_mistakes(recipe, override):
            yield ("overrides", at, *place), text


def _entries(key: str, value: Any) -> Any:
    if key not in NAMED or not isinstance(value, list):
        return value
    return [_entry(key, item) if isinstance(item, str) else item for item in value]


def _entry(key: str, text: str) -> dict[str, str]:
    name, equals, data = text.partition("=")
    return {"name": name, "data": data} if key == "tasks" and equals else {"name": text}


def _one_line(text: str) -> str:
    return " ".join(text.split())
