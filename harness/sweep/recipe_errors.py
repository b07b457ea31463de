"""What a recipe's schema says against a file, in the words of people who write YAML."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from harness.errors import unknown
from harness.plugins.ranges import BOUNDS, declared_range
from harness.records.document import Document
from harness.support.yaml_lines import Place
from harness.sweep.recipe import Recipe

_IN_YAML = {
    "tuple_type": "should be a list, e.g. [one, two]",
    "model_type": "should be a mapping, e.g. {name: one}",
    "dict_type": "should be a mapping, e.g. {key: value}",
    "string_type": "should be text",
    "bool_type": "should be true or false",
    "int_type": "should be a whole number in decimal digits",
    "int_from_float": "should be a whole number in decimal digits",
    "float_type": "should be a number",
    "too_short": "should name at least one",
}
"""What people who write YAML call it, by pydantic's kind of error."""
_VALUES = ("options", "task_options")
"""Mappings whose values may be of several types, each of which pydantic complains about."""
_OPTION = "should be true, false, a number, text, or a list of texts"


def schema_mistakes(error: ValidationError) -> Iterator[tuple[Place, str]]:
    """Place and text of each."""
    problems = error.errors()
    wrong_keys = {
        problem["loc"][:-1] for problem in problems if problem["type"] == "extra_forbidden"
    }
    for problem in problems:
        place = _place(problem["loc"])
        # A wrong key is the cause where a missing one is the consequence, and so is a wrong item
        # where a list is too short without it.
        if problem["type"] == "missing" and place[:-1] in wrong_keys:
            continue
        if problem["type"] == "too_short" and problem["input"]:
            continue
        yield place, _text(place, problem)


def _place(location: Place) -> Place:
    """Without the types that an option's value was tried as."""
    for at, part in enumerate(location):
        if part in _VALUES:
            return location[: at + 2]
    return location


def _text(place: Place, problem: ErrorDetails) -> str:
    kind, given = problem["type"], problem["input"]
    if kind == "extra_forbidden":
        *around, name = place
        owner = ".".join(part for part in around if isinstance(part, str)) or "the recipe"
        return str(unknown(f"key of {owner}", str(name), _document_at(tuple(around)).model_fields))
    name = ".".join(map(str, place)) or "recipe"
    if kind == "missing":
        return f"{name} is missing; add it"
    if place != problem["loc"]:
        return f"{name}: {_OPTION}{_given(given)}"
    if kind == "literal_error":
        return _not_among(name, place, given)
    within = declared_range(_hint_at(place))
    if within and kind in BOUNDS:
        return f"{name}: {within.complaint(given)}"
    message = _IN_YAML.get(kind, problem["msg"].removeprefix("Value error, "))
    allowed = f" ({within})" if within and not isinstance(given, (list, Mapping)) else ""
    return f"{name}: {message[:1].lower()}{message[1:]}{allowed}{_given(given)}"


def _not_among(name: str, place: Place, given: Any) -> str:
    allowed = [value for value in _leaves(_hint_at(place)) if isinstance(value, str)]
    message = f"{name}: should be {' or '.join(allowed)}{_given(given)}"
    near = str(unknown("value", str(given), allowed)).partition("; did you mean ")[2]
    return f"{message}; did you mean {near}" if near else message


def _given(value: Any) -> str:
    """What stands there, as YAML has it."""
    if isinstance(value, (Mapping, BaseModel)):
        return ""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return f", got {text if len(text) <= 60 else text[:57] + '...'}"


def _hint_at(place: Place) -> Any:
    """The annotation of the field at ``place``, or of the items of the list there."""
    around, name = place[:-1], place[-1] if place else ""
    if isinstance(name, int):
        hint = _hint_at(around)
        return next(iter(get_args(hint)), hint)
    hint = get_type_hints(_document_at(around), include_extras=True).get(name)
    return next((part for part in get_args(hint) if get_args(part)[1:] == (...,)), hint)


def _leaves(hint: Any) -> Iterator[Any]:
    inner = get_args(hint)
    if not inner:
        yield hint
    for part in inner:
        yield from _leaves(part)


def _document_at(place: Place) -> type[Document]:
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
