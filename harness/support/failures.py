"""Whatever goes wrong in the work of a plugin, as an error that a record can hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.errors import HarnessError, IncompleteError, InfrastructureError
from harness.support.library_errors import described
from harness.support.out_of_memory import out_of_memory
from harness.support.panics import INTERRUPTS


@contextmanager
def failures_explained(what: str) -> Iterator[None]:
    """Turn whatever ``what`` raises into an error that a record can hold.

    Raises:
        HarnessError: as it was raised.
        InfrastructureError: memory ran out.
        IncompleteError: anything else.
    """
    try:
        yield
    except HarnessError:
        raise
    # A plugin may raise anything, a native library too; the other cells go on.
    except BaseException as error:
        if isinstance(error, INTERRUPTS):
            raise
        if out_of_memory(error):
            raise InfrastructureError(
                "out of memory; pass a smaller --batch-size, a smaller model, or --dtype bfloat16"
            ) from error
        raise IncompleteError(f"{what} failed: {described(error)}; --debug shows where") from error
