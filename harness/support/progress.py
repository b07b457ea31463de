"""How long work reports that it advances, without knowing who looks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


class Tracker(Protocol):
    """Wraps an iterable of known length and shows how far it has come."""

    def __call__(self, items: Iterable[T], description: str, total: int) -> Iterator[T]:
        """Yield ``items`` unchanged."""


def silent(items: Iterable[T], description: str, total: int) -> Iterator[T]:  # noqa: ARG001
    """Track nothing."""
    return iter(items)
