"""Identity of what tasks ask."""

from __future__ import annotations

import hashlib
import inspect
import json
import random
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from harness.assets.hashing import file_sha256
from harness.plugin import DataFacts
from tasks.eval_libraries.evaluation import Generators
from tasks.eval_libraries.failures import named_reading
from tasks.eval_libraries.following import remember_imports
from tasks.eval_libraries.library import Library
from tasks.eval_libraries.local_code import Trace

SHOWN = 20
"""Names of files in a record; a task may open thousands of images."""


@dataclass(frozen=True)
class Identity:
    """What tasks are.

    Attributes:
        facts: of what they ask.
        without_code: the fingerprint without local code, by which they were known once.
        files: the local code and what it read.
    """

    facts: DataFacts
    without_code: str
    files: tuple[Path, ...] = ()


Content = Callable[[Any], Iterable[bytes]]


def identity(
    library: Library,
    name: str,
    tasks: Sequence[Any],
    content: Content,
    posed: Content,
    trace: Trace,
) -> Identity:
    """What ``tasks`` are, the same on every machine.

    Args:
        library: whose tasks they are.
        name: what the user asked for.
        tasks: the single tasks, in any order.
        content: all that decides a task's results as far as it needs no local code, in an order
            of its own.
        posed: what that code makes of the documents.
        trace: what it did while the tasks were loaded, and does now.

    Raises:
        AssetError: something in them cannot be read.
        UsageError: local code fails on a document.
    """
    ordered = sorted(tasks, key=lambda task: str(task.task_name))
    fingerprint = without_code = _hashed(library, ordered, content)
    files = trace.files(path for task in ordered for path in _sources(task))
    if files:
        with _random_numbers_repeated():
            poses = _hashed(library, ordered, posed)
        files = trace.files(files)
        code = sorted([file.name, file_sha256(file)] for file in files)
        fingerprint = hashlib.sha256(canonical([without_code, code, poses])).hexdigest()
        remember_imports(trace, files)
    facts = DataFacts(
        reference=name,
        fingerprint=fingerprint,
        revision=f"{library.name} {version(library.name)}",
        code=_shown(files),
    )
    return Identity(facts, without_code, tuple(files))


def _shown(files: Sequence[Path]) -> tuple[str, ...]:
    names = sorted(file.name for file in files)
    more = (f"and {len(names) - SHOWN} more",) if len(names) > SHOWN else ()
    return (*names[:SHOWN], *more)


def _hashed(library: Library, tasks: Sequence[Any], content: Content) -> str:
    state = hashlib.sha256()
    for task in tasks:
        with named_reading(library, str(task.task_name)):
            for part in content(task):
                state.update(part)
    return state.hexdigest()


def _sources(task: Any) -> Iterator[Path]:
    """Files that hold the task's functions and its classes."""
    for kind in type(task).__mro__:
        yield from _home(kind)
    yield from _functions(vars(task.config))


def _functions(value: Any) -> Iterator[Path]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for each in value:
            yield from _functions(each)
    elif callable(value):
        while value is not None:
            yield from _home(value)
            value = getattr(value, "func", getattr(value, "__wrapped__", None))


def _home(code: Any) -> Iterator[Path]:
    module = sys.modules.get(getattr(code, "__module__", None) or "")
    names = [getattr(module, "__file__", None)]
    if inspect.isfunction(code):
        names.append(code.__code__.co_filename)
    yield from (Path(name) for name in names if name)


@contextmanager
def _random_numbers_repeated() -> Iterator[None]:
    """Draw from the same start, and leave the generators as they were."""
    before = Generators.now()
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    try:
        yield
    finally:
        before.restore()


def configuration(task: Any, places: Sequence[str]) -> dict[str, Any]:
    """A task's version and configuration without ``places``, its keys that name places."""
    config = {key: value for key, value in task.dump_config().items() if key not in places}
    return {"version": task.VERSION, "config": config}


def canonical(content: Any) -> bytes:
    """``content`` as JSON that is the same in every process."""
    text = json.dumps(content, sort_keys=True, default=str)
    # The text of a function without source holds its address in memory.
    return re.sub(r" at 0x[0-9a-f]+", "", text).encode()
