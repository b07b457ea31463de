"""Whatever goes wrong in the work of a plugin, as an error that a record can hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.errors import HarnessError, IncompleteError, InfrastructureError
from harness.support.out_of_memory import out_of_memory


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
    # A plugin may raise anything; the other cells go on.
    except Exception as error:
        if out_of_memory(error):
            raise InfrastructureError(
                "out of memory; pass a smaller --batch-size, a smaller model, or --dtype bfloat16"
            ) from error
        raise IncompleteError(
            f"{what} failed: {type(error).__name__}: {error}; --debug shows where"
        ) from error
