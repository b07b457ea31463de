"""Evaluate with the largest batch that fits in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from accelerate.utils import find_executable_batch_size

from harness.errors import InfrastructureError

T = TypeVar("T")


def largest_fitting_batch(evaluate: Callable[[int], T], start: int) -> tuple[T, int]:
    """Call ``evaluate(batch_size)``, halving the batch size after every out-of-memory error.

    Args:
        evaluate: does the whole evaluation; starts over at every call.
        start: the first batch size.

    Returns:
        What ``evaluate`` returned, and the batch size it returned with.

    Raises:
        InfrastructureError: even one sequence at a time does not fit.
    """
    size = start

    def halve() -> int:
        nonlocal size
        size //= 2
        if size == 0:
            raise InfrastructureError(
                "out of memory even with one sequence at a time; pass a smaller window, if "
                "the task has one, or use a device with more memory"
            )
        return size

    back_off: Any = find_executable_batch_size
    result: T = back_off(evaluate, starting_batch_size=start, reduce_batch_size_fn=halve)()
    return result, size
