"""Typed options of plugins: checked on the way in, spelled out in records and labels."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from harness.errors import UsageError, unknown
from harness.plugins.ranges import (
    BOUNDS,
    declared_range,
    numbers_of,
    out_of_range,
    require_in_range,
)
from harness.records.spec import Option

C = TypeVar("C")
REMEMBERED = 1000
_CONFIGURED: dict[tuple[type[Any], str, str], Any] = {}
"""By what was asked: the many cells of a recipe ask for the same few options."""
_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}
_ADDED_LATER: dict[type[Any], dict[str, Any]] = {}


@dataclass(frozen=True)
class AddedLater:
    """Marks an option that records were written without.

    Its default is what they were measured with, so it is not spelled out and their names stay.
    """


_RECORDED: TypeAdapter[Option] = TypeAdapter(Option, config=ConfigDict(allow_inf_nan=False))


def configure(config: type[C], values: Mapping[str, Any], owner: str) -> C:
    """An instance of the dataclass ``config`` from loosely typed ``values``.

    Raises:
        UsageError: an unknown key (near names suggested), a value of the wrong type, or a number
            out of its range.
    """
    asked = (config, owner, repr(values))
    if asked in _CONFIGURED:
        return _CONFIGURED[asked]
    known = [field.name for field in fields(config)]  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise unknown(f"option of {owner}", key, known)
    for name, within in numbers_of(config):
        if isinstance(values.get(name), bool):
            said = f"{values[name]} is no number; its range: {within}"
            raise UsageError(f"option '{name}' of {owner}: {said}")
    try:
        configured = _adapter(config).validate_python(dict(values))
    except ValidationError as error:
        raise _explained(error.errors(), config, owner) from error
    require_in_range(configured, owner)
    if len(_CONFIGURED) < REMEMBERED:
        _CONFIGURED[asked] = configured
    return configured


def option_mistakes(
    config: type[Any], values: Mapping[str, Any], owner: str
) -> Iterator[tuple[str, str]]:
    """Name and mistake of each of the ``values`` of a file, in which a text is no number."""
    known = [field.name for field in fields(config)]
    for key in values:
        if key not in known:
            yield key, str(unknown(f"option of {owner}", key, known))
    sound = {key: value for key, value in values.items() if key in known}
    try:
        configured = _adapter(config).validate_json(json.dumps(sound), strict=True)
        require_in_range(configured, owner)
    except ValidationError as error:
        by_name: dict[str, list[ErrorDetails]] = {}
        for problem in error.errors():
            by_name.setdefault(str(problem["loc"][0]) if problem["loc"] else "", []).append(problem)
        for name, problems in by_name.items():
            yield name, str(_explained(problems, config, owner))
    except UsageError as error:
        yield "", str(error)


def _adapter(config: type[C]) -> TypeAdapter[C]:
    if config not in _ADAPTERS:
        _ADAPTERS[config] = TypeAdapter(config)
    return _ADAPTERS[config]


def _explained(problems: Sequence[ErrorDetails], config: type[Any], owner: str) -> UsageError:
    first = next((problem for problem in problems if problem["type"] in BOUNDS), problems[0])
    name = str(first["loc"][0]) if first["loc"] else "options"
    within = declared_range(get_type_hints(config, include_extras=True).get(name))
    if first["type"] in BOUNDS and within is not None:
        return out_of_range(name, _number(first["input"]), within, owner)
    allowed = f"; its range: {within}" if within else ""
    given = f"{first['msg'].lower()}, got {first['input']!r}"
    return UsageError(f"option '{name}' of {owner}: {given}{allowed}")


def _number(written: Any) -> float:
    """What pydantic has read as a number, too."""
    if isinstance(written, (int, float)):
        return written
    try:
        return int(written)
    except ValueError:
        return float(written)


def spelled_out(config: Any, owner: str) -> dict[str, Option]:
    """Every option of the dataclass instance ``config`` as records keep it.

    One that was ``AddedLater`` is left out while it has its default.

    Raises:
        UsageError: a value that no record can hold, NaN and infinity among them.
    """
    added = _added_later(type(config))
    options = {
        key: value
        for key, value in asdict(config).items()
        if not (key in added and value == added[key])
    }
    for key, value in options.items():
        try:
            _RECORDED.validate_python(value)
        except ValidationError as error:
            raise UsageError(
                f"option '{key}' of {owner} cannot be {value!r}; allowed are finite numbers, "
                "text, and tuples of text"
            ) from error
    return options


def _added_later(config: type[Any]) -> Mapping[str, Any]:
    """Options of the dataclass ``config`` that were ``AddedLater``, with their defaults."""
    if config not in _ADDED_LATER:
        standard = asdict(config())
        _ADDED_LATER[config] = {
            name: standard[name]
            for name, hint in get_type_hints(config, include_extras=True).items()
            if any(isinstance(mark, AddedLater) for mark in getattr(hint, "__metadata__", ()))
        }
    return _ADDED_LATER[config]


def label(name: str, config: Any) -> str:
    """``name``, followed by every option that differs from its default.

    The junction stands by its value alone: ``asvd-rootcov[block-identity]``.
    """
    standard = asdict(type(config)())
    changed = [
        value
        if key == "junction"
        else f"{key}={'+'.join(value) if isinstance(value, tuple) else value}"
        for key, value in asdict(config).items()
        if value != standard[key]
    ]
    return f"{name}[{', '.join(changed)}]" if changed else name
