"""Errors of libraries and of their tasks' own code, as errors that name the task.

Task files bring functions of their own, which may raise anything.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from datasets.exceptions import DatasetsError

from harness.plugin import AssetError, HarnessError, InputError, UsageError
from harness.support.offline import FIX
from tasks.eval_libraries.library import Library
from tasks.eval_libraries.local_files import is_local
from tasks.eval_libraries.replacing import replaced


@contextmanager
def named_downloading(library: Library, task: Any) -> Iterator[None]:
    """While ``task`` fetches its documents: ``AssetError`` names its data set."""
    try:
        yield
    except (OSError, DatasetsError) as error:
        where = " ".join(filter(None, [task.DATASET_PATH, task.DATASET_NAME]))
        raise AssetError(
            f"the data set {where} of {library.label(task.config.task)} cannot be had: "
            f"{_one_line(error)}; {_get_data(library)}"
        ) from error


@contextmanager
def named_loading(library: Library, name: str) -> Iterator[None]:
    """While the task ``name`` loads: ``UsageError``, or ``AssetError`` without a connection."""
    try:
        yield
    except (HarnessError, MemoryError):
        raise
    # Tasks that fetch in ways of their own.
    except (ConnectionError, DatasetsError) as error:
        raise AssetError(
            f"the data of {library.label(name)} cannot be had: {_one_line(error)}; "
            f"{_get_data(library)}"
        ) from error
    except ImportError as error:
        raise UsageError(
            f"{library.label(name)} does not load: {_described(error)}; correct its file, or "
            "where that is a missing package, install it with pip"
        ) from error
    except Exception as error:
        raise UsageError(
            f"{library.label(name)} does not load: {_described(error)}; correct its file"
        ) from error


@contextmanager
def named_reading(library: Library, name: str) -> Iterator[None]:
    """While the documents of ``name`` are read: ``AssetError``."""
    try:
        yield
    except (HarnessError, MemoryError):
        raise
    except Exception as error:
        raise AssetError(
            f"the documents of {library.label(name)} cannot be read: {_described(error)}; fetch "
            "or copy its data again, or correct its file"
        ) from error


@contextmanager
def named_running(library: Library, name: str) -> Iterator[None]:
    """While a model is asked: ``InputError``; what torch raises passes."""
    try:
        yield
    except (HarnessError, RuntimeError, MemoryError):
        raise
    except Exception as error:
        raise InputError(
            [f"{library.label(name)} does not run: {_described(error)}; correct its file"]
        ) from error


@contextmanager
def named_scoring(library: Library, task: Any) -> Iterator[None]:
    """While ``task`` scores answers: ``InputError`` names the answer, after a single attempt."""
    scoring = task.process_results
    # lmms-eval makes five attempts, two seconds apart, whatever the error.
    single = getattr(scoring, "__wrapped__", None)
    plain = scoring if single is None else partial(single, task)

    def score(document: Any, answers: Any, **rest: Any) -> Any:
        try:
            return plain(document, answers, **rest)
        except (HarnessError, MemoryError):
            raise
        except Exception as error:
            said = f"{library.label(task.task_name)} cannot score the answer {answers}"
            raise InputError([f"{said}: {_described(error)}; correct its file"]) from error

    with replaced(task, "process_results", score):
        yield


def _get_data(library: Library) -> str:
    return (
        f"{FIX} and HF_HUB_OFFLINE is not set (`hf auth login` where it asks for an account), or "
        f"pass a task YAML file that names local data, as {library.prefix}FILE.yaml "
        f"({library.relative})"
    )


def _described(error: Exception) -> str:
    return f"{typed(error)}{place_of(error)}"


def typed(error: Exception) -> str:
    """Type and message of ``error``, on one line."""
    return f"{type(error).__name__}: {_one_line(error)}".rstrip()


def place_of(error: Exception) -> str:
    """Where in local code ``error`` was raised, as `` (FILE:LINE)``; empty for other code."""
    frames = traceback.extract_tb(error.__traceback__)
    local = [frame for frame in frames if is_local(frame.filename)]
    return f" ({local[-1].filename}:{local[-1].lineno})" if local else ""


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
