"""Evaluate with the largest batch that fits in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from accelerate.utils.memory import clear_device_cache

from harness.errors import InfrastructureError
from harness.support.out_of_memory import out_of_memory

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
    while True:
        clear_device_cache(garbage_collection=True)
        try:
            return evaluate(size), size
        except Exception as error:
            if not out_of_memory(error):
                raise
            if size == 1:
                raise InfrastructureError(
                    "out of memory even with one sequence at a time; pass a smaller window, if "
                    "the task has one, or use a device with more memory"
                ) from error
        size //= 2
