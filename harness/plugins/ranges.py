"""Which numbers an option may have, as its annotation declares it.

``Annotated[float, Field(ge=0, le=1)]``, or the same in the words of ``annotated_types``; beside it
``Advice``, where there is more to say.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic.fields import FieldInfo

from harness.errors import UsageError

BOUNDS = frozenset(("greater_than", "greater_than_equal", "less_than", "less_than_equal"))
"""What pydantic calls numbers that are out of range."""

_NUMBERS: dict[type[Any], tuple[tuple[str, Range], ...]] = {}


@dataclass(frozen=True)
class Advice:
    """Why numbers out of range make no sense, and what to pass; ``{}`` stands for the number."""

    text: str


@dataclass(frozen=True)
class Range:
    """Finite numbers from ``ge`` or above ``gt``, up to ``le`` or below ``lt``."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    advice: str = ""

    def __contains__(self, number: float) -> bool:
        return _finite(number) and not self._too_small(number) and not self._too_big(number)

    def __str__(self) -> str:
        if self.ge is not None and self.le is not None:
            return f"{_written(self.ge)} to {_written(self.le)}"
        bounds = {
            "{} or more": self.ge,
            "more than {}": self.gt,
            "{} or less": self.le,
            "less than {}": self.lt,
        }
        said = [text.format(_written(bound)) for text, bound in bounds.items() if bound is not None]
        return ", ".join(said) or "any number"

    def complaint(self, number: float) -> str:
        """What is wrong with a number that is not in here, and what to pass."""
        if not _finite(number):
            return f"{number} is not finite; its range: {self}"
        advice = self.advice.format(number) or self._nearest(number)
        return f"{number} is outside its range: {self}; {advice}"

    def _nearest(self, number: float) -> str:
        """What to pass instead, next to ``number``."""
        if self._too_small(number):
            bounds = (("at least", self.ge), ("more than", self.gt))
        else:
            bounds = (("at most", self.le), ("less than", self.lt))
        return "pass " + " and ".join(
            f"{word} {_written(at)}" for word, at in bounds if at is not None
        )

    def _too_small(self, number: float) -> bool:
        return (self.ge is not None and number < self.ge) or (
            self.gt is not None and number <= self.gt
        )

    def _too_big(self, number: float) -> bool:
        return (self.le is not None and number > self.le) or (
            self.lt is not None and number >= self.lt
        )


def declared_range(hint: Any) -> Range | None:
    """The range of the numbers among the values of type ``hint``; None if there are none."""
    declared: dict[str, Any] = {}
    numeric = False
    for part, metadata in _parts(hint):
        if part in (int, float):
            numeric = True
            for item in metadata:
                declared |= _declared(item)
    return Range(**declared) if numeric else None


def require_in_range(config: Any, owner: str = "") -> None:
    """Refuse numbers of the dataclass instance ``config`` that are out of their ranges.

    Raises:
        UsageError: one is, or it is NaN or infinite.
    """
    for name, within in numbers_of(type(config)):
        value = getattr(config, name)
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            continue
        if value not in within:
            raise out_of_range(name, value, within, owner)


def numbers_of(config: type[Any]) -> tuple[tuple[str, Range], ...]:
    """Name and range of every field of the dataclass ``config`` with numbers."""
    if config not in _NUMBERS:
        hints = get_type_hints(config, include_extras=True)
        ranges = {field.name: declared_range(hints[field.name]) for field in fields(config)}
        _NUMBERS[config] = tuple((name, within) for name, within in ranges.items() if within)
    return _NUMBERS[config]


def out_of_range(name: str, number: float, within: Range, owner: str = "") -> UsageError:
    """Error for an option called ``name``."""
    of_owner = f" of {owner}" if owner else ""
    return UsageError(f"option '{name}'{of_owner}: {within.complaint(number)}")


def _written(bound: float) -> str:
    return f"{bound:g}" if abs(bound) < 1e5 or not float(bound).is_integer() else f"{int(bound):,}"


def _finite(number: float) -> bool:
    return isinstance(number, int) or math.isfinite(number)  # an integer may exceed every float


def _parts(hint: Any, metadata: tuple[Any, ...] = ()) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """The members of a union, or ``hint`` itself, each with what annotates it."""
    if get_origin(hint) is Annotated:
        inner, *more = get_args(hint)
        yield from _parts(inner, (*metadata, *more))
    elif get_origin(hint) in (Union, UnionType):
        for member in get_args(hint):
            yield from _parts(member, metadata)
    else:
        yield hint, metadata


def _declared(item: Any) -> dict[str, Any]:
    if isinstance(item, Advice):
        return {"advice": item.text}
    bounds: dict[str, Any] = {}
    for constraint in item.metadata if isinstance(item, FieldInfo) else (item,):
        for name in ("ge", "gt", "le", "lt"):
            if (bound := getattr(constraint, name, None)) is not None:
                bounds[name] = bound
    return bounds
