"""The code of a task that lies in files of the user's own, and the files that this code reads."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import FrameType
from typing import Any

from harness.support.imported_files import imported_files
from tasks.eval_libraries.local_files import is_local
from tasks.eval_libraries.replacing import replaced

CALLERS = (
    "tasks.lm_eval.", "tasks.lmms_eval.", "datasets.",
    "tasks.eval_libraries.failures", "tasks.eval_libraries.fingerprint",
)  # fmt: skip
"""Modules that have a task's code run. What ``datasets`` opens counts by the documents it makes."""
WRITING = os.O_WRONLY | os.O_RDWR


@dataclass(frozen=True)
class Trace:
    """What local code did while it was followed.

    Attributes:
        loaded: files that a library took a task's functions from.
        opened: the local code that was running, and the file it opened to read.
        written: files it opened to write.
        modules: names of all modules that were there before.
    """

    loaded: set[Path] = field(default_factory=set)
    opened: list[tuple[frozenset[Path], Path]] = field(default_factory=list)
    written: set[Path] = field(default_factory=set)
    modules: frozenset[str] = field(default_factory=lambda: frozenset(sys.modules))

    def files(self, roots: Iterable[Path]) -> list[Path]:
        """Local ones among ``roots`` and what was loaded, all they import and all these opened."""
        reached: set[Path] = set()
        waiting = {path for path in (*roots, *self.loaded) if is_local(str(path))}
        while waiting:
            reached |= waiting
            imported = {file for path in waiting for file in imported_files(path)}
            read = imported | self.opened_by(reached)
            waiting = {path for path in read if is_local(str(path))} - reached
        return sorted(reached)

    def opened_by(self, code: Iterable[Path]) -> set[Path]:
        """Files that any of ``code`` opened to read and not to write."""
        wanted = frozenset(code)
        return {path for running, path in self.opened if running & wanted} - self.written


@contextmanager
def traced() -> Iterator[Trace]:
    """Follow local code, which is compiled from its source."""
    trace = Trace()
    _listen()
    _traces.append(trace)
    with ExitStack() as stack:
        stack.callback(_traces.remove, trace)
        stack.enter_context(replaced(SourceFileLoader, "get_code", _code_from_source))
        stack.enter_context(replaced(importlib.util, "spec_from_file_location", _spec))
        yield trace


_traces: list[Trace] = []
_hooks: list[Any] = []


def _listen() -> None:
    """A hook cannot be taken away, so there is one for ever."""
    is_local(__file__)  # what it needs to know it must not import while it runs
    if not _hooks:
        _hooks.append(_on_event)
        sys.addaudithook(_on_event)


def _on_event(event: str, arguments: tuple[Any, ...]) -> None:
    if not _traces:
        return
    if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
        name, mode, flags = arguments
        reading = not flags & WRITING and not set(mode or "") & set("wax+")
        _note(Path(os.fsdecode(name)).absolute(), reading=reading)
    elif event == "import" and isinstance(arguments[1], str):  # an extension module
        _note(Path(arguments[1]), reading=True)
    elif event == "sqlite3.connect" and isinstance(arguments[0], str | os.PathLike):
        _note(Path(arguments[0]).absolute(), reading=True)


def _note(path: Path, *, reading: bool) -> None:
    code = frozenset(_running())
    for trace in _traces if code else ():
        if reading:
            trace.opened.append((code, path))
        else:
            trace.written.add(path)


def _running() -> Iterator[Path]:
    """Local files whose code is running, down to ours that had them run."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001
    while frame and not str(frame.f_globals.get("__name__")).startswith(CALLERS):
        if _is_local_code(frame.f_code.co_filename):
            yield Path(frame.f_code.co_filename)
        frame = frame.f_back


_is_local_code = cache(is_local)


def _spec(name: str, location: Any = None, **options: Any) -> ModuleSpec | None:
    """How both libraries load the modules that task files name."""
    if isinstance(location, str | os.PathLike):
        for trace in _traces if not any(_running()) else ():
            trace.loaded.add(Path(location).absolute())
    return _SPEC(name, location, **options)


def _code_from_source(loader: SourceFileLoader, name: str) -> Any:
    """Of local modules; a compiled file may be older by less than a second, which nobody sees."""
    path = loader.get_filename(name)
    if is_local(path):
        return loader.source_to_code(loader.get_data(path), path)
    return _CODE(loader, name)


_SPEC = importlib.util.spec_from_file_location
_CODE = SourceFileLoader.get_code
