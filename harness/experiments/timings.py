"""How long the stages of a cell take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Timed(Generic[T]):
    """A value and the seconds that it took."""

    value: T
    seconds: float


class Timings(dict[str, float]):
    """Seconds by stage."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Take the time of the block, whether or not it ends well."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self[name] = time.perf_counter() - start
