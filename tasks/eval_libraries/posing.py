"""Errors of a task's own code, as errors that name the document and the line."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from harness.plugin import HarnessError, UsageError
from tasks.eval_libraries.library import Library
from tasks.eval_libraries.local_files import is_local


@contextmanager
def named_posing(library: Library, name: str, document: int) -> Iterator[None]:
    """While local code makes a prompt of a document: ``UsageError`` names both."""
    try:
        yield
    except (HarnessError, MemoryError):
        raise
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise UsageError(
            f"{library.label(name)} cannot pose document {document}{_place(error)}: {why}; "
            "correct its file or its data"
        ) from error


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    local = [frame for frame in frames if is_local(frame.filename)]
    return f" ({local[-1].filename}:{local[-1].lineno})" if local else ""
