"""Errors of a task's own code, as errors that name the document and the line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.plugin import HarnessError, UsageError
from tasks.eval_libraries.failures import place_of, typed
from tasks.eval_libraries.library import Library


@contextmanager
def named_posing(library: Library, name: str, document: int) -> Iterator[None]:
    """While local code makes a prompt of a document: ``UsageError`` names both."""
    try:
        yield
    except (HarnessError, MemoryError):
        raise
    except Exception as error:
        raise UsageError(
            f"{library.label(name)} cannot pose document {document}{place_of(error)}: "
            f"{typed(error)}; correct its file or its data"
        ) from error
