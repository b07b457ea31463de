"""How long work reports that it advances, without knowing who looks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


class Tracker(Protocol):
    """Wraps an iterable of known length and shows how far it has come."""

    def __call__(self, items: Iterable[T], description: str, total: int) -> Iterator[T]:
        """Yield ``items`` unchanged."""


class Announce(Protocol):
    """Is told of each part of long work before it begins."""

    def __call__(self, title: str, position: int, total: int) -> None:
        """Part ``position`` of ``total``, counted from 1."""


def silent(items: Iterable[T], description: str, total: int) -> Iterator[T]:  # noqa: ARG001
    """Track nothing."""
    return iter(items)


def unannounced(title: str, position: int, total: int) -> None:
    """Tell nobody."""


def as_phase(track: Tracker, description: str, work: Callable[[], T]) -> T:
    """``work()``, tracked as one step."""
    (result,) = track((work() for _ in range(1)), description, 1)
    return result
