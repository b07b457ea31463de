"""Tasks of local files: their code is read anew each time, and what it reads is known."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import datasets

from harness.plugin import UsageError
from tasks.eval_libraries.library import Library
from tasks.eval_libraries.local_code import Trace, traced
from tasks.eval_libraries.local_files import is_local


@contextmanager
def followed(name: str) -> Iterator[Trace]:
    """While the task ``name`` is loaded: what its local code does, if it is a local file."""
    if not name.endswith((".yaml", ".yml")):
        yield Trace()
        return
    for module in _imported:
        sys.modules.pop(module, None)
    _imported.clear()
    with _results_made_anew(), traced() as trace:
        try:
            yield trace
        finally:
            remember_imports(trace, trace.files(()))


def remember_imports(trace: Trace, files: Iterable[Path]) -> None:
    """Have the modules that ``trace`` saw imported from ``files`` imported anew next time."""
    names = {str(path) for path in files}
    for name in set(sys.modules) - trace.modules:
        if getattr(sys.modules[name], "__file__", None) in names:
            _imported.add(name)


_imported: set[str] = set()


@contextmanager
def nothing_new_read(library: Library, name: str, files: Sequence[Path]) -> Iterator[None]:
    """While the task ``name`` runs, whose local code and all it read are ``files``.

    Raises:
        UsageError: that code read yet another file, which no fingerprint covers.
    """
    if not files:
        yield
        return
    # Libraries have documents made once more when they are asked.
    with _results_made_anew(), traced() as trace:
        yield
    remember_imports(trace, files)
    opened = sorted(path for path in trace.opened_by(files) if is_local(str(path)))
    if unknown := [path for path in opened if path not in files]:
        raise UsageError(
            f"{library.label(name)} reads {unknown[0]} while it runs, after it was named by what "
            "it reads; have its code read that when it is imported"
        )


@contextmanager
def _results_made_anew() -> Iterator[None]:
    """Keep ``datasets`` from answering with what an older version of a local function made.

    It knows functions by their names.
    """
    enabled = datasets.is_caching_enabled()
    datasets.disable_caching()
    try:
        yield
    finally:
        if enabled:
            datasets.enable_caching()
