"""Sequences whose items are made when asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, overload

T_co = TypeVar("T_co", covariant=True)


class ComputedSequence(Sequence[T_co], Generic[T_co]):
    """``length`` items, the one at an index made by ``make(index)`` each time."""

    def __init__(self, length: int, make: Callable[[int], T_co]) -> None:
        self._indices = range(length)
        self._make = make

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> T_co: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[T_co]: ...

    def __getitem__(self, index: int | slice) -> T_co | Sequence[T_co]:
        chosen = self._indices[index]
        if isinstance(chosen, range):
            return ComputedSequence(len(chosen), lambda at: self._make(chosen[at]))
        return self._make(chosen)
