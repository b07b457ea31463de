"""Options of plugins in words: what may be written, what it means, its range and its default."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from harness.plugins.docstrings import explanation
from harness.plugins.ranges import Range, declared_range


@dataclass(frozen=True)
class Description:
    """One option.

    Attributes:
        name: of the field.
        values: what may be written, e.g. ``INT|all``.
        explanation: what the docstring says, empty where it says nothing.
        range: of the numbers among the values.
        default: as a person would write it.
        many: whether it takes several values.
    """

    name: str
    values: str
    explanation: str
    range: Range | None
    default: str
    many: bool


def describe(config: type[Any]) -> list[Description]:
    """Every option of the dataclass ``config``."""
    standard = config()
    try:
        plain, annotated = get_type_hints(config), get_type_hints(config, include_extras=True)
    except NameError:  # a hint that does not resolve is that plugin's trouble, when it is used
        plain = annotated = {}
    options = []
    for field in fields(config):
        default, name = getattr(standard, field.name), field.name
        options.append(
            Description(
                name=name,
                values=_values(plain[name]) if name in plain else name.upper(),
                explanation=explanation(config, name),
                range=declared_range(annotated.get(name)),
                default=_written(default),
                many=isinstance(default, tuple),
            )
        )
    return options


def _values(hint: Any) -> str:
    """What may be written for a field of type ``hint``."""
    if get_origin(hint) is Literal:
        return "|".join(map(str, get_args(hint)))
    inner = [member for member in get_args(hint) if member not in (type(None), Ellipsis)]
    if inner:
        return "|".join(map(_values, inner))
    return "true|false" if hint is bool else str(hint.__name__).upper()


def _written(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none"
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)
