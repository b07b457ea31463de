"""Typed options of plugins: checked on the way in, spelled out in records and labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from harness.errors import UsageError, unknown
from harness.records.spec import Option

C = TypeVar("C")
_RECORDED: TypeAdapter[Option] = TypeAdapter(Option, config=ConfigDict(allow_inf_nan=False))


def configure(config: type[C], values: Mapping[str, Any], owner: str) -> C:
    """An instance of the dataclass ``config`` from loosely typed ``values``.

    Raises:
        UsageError: an unknown key (near names suggested) or a value of the wrong type.
    """
    known = [field.name for field in fields(config)]  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise unknown(f"option of {owner}", key, known)
    try:
        return TypeAdapter(config).validate_python(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        where = first["loc"][0] if first["loc"] else "options"
        raise UsageError(
            f"option '{where}' of {owner}: {first['msg'].lower()}, got {first['input']!r}"
        ) from error


def spelled_out(config: Any, owner: str) -> dict[str, Option]:
    """Every option of the dataclass instance ``config`` as records keep it.

    Raises:
        UsageError: a value that no record can hold, NaN and infinity among them.
    """
    options = asdict(config)
    for key, value in options.items():
        try:
            _RECORDED.validate_python(value)
        except ValidationError as error:
            raise UsageError(
                f"option '{key}' of {owner} cannot be {value!r}; allowed are finite numbers, "
                "text, and tuples of text"
            ) from error
    return options


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
