"""From the name of an lm-eval task to the task with its documents."""

from __future__ import annotations

import difflib
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from datasets.exceptions import DatasetsError
from lm_eval import tasks as lm_eval_tasks
from lm_eval.tasks import TaskManager

from harness.errors import AssetError, UsageError
from harness.evaluation.task import tasks
from harness.support.offline import FIX


def load(name: str, num_fewshot: int | None) -> Any:
    """Load the task, group or tag called ``name`` with all its documents.

    Args:
        name: a name of lm-eval's own, or the path of a task YAML file.
        num_fewshot: examples in the prompt; None keeps what the task says.

    Returns:
        lm-eval's ``TaskDict``.

    Raises:
        UsageError: there is no such task, or it cannot run here.
        AssetError: its data cannot be had.
    """
    manager, spec = _find(name)
    try:
        loaded = manager.load([spec])
    except (OSError, DatasetsError) as error:
        raise AssetError(
            f"the data of lm-eval task '{name}' cannot be had: {_one_line(error)}; "
            f"{FIX}, or pass a task YAML file that names local data (relative paths start at "
            f"{Path.cwd()})"
        ) from error
    except (yaml.YAMLError, ImportError, LookupError, TypeError, ValueError) as error:
        raise UsageError(
            f"lm-eval task '{name}' does not load: {type(error).__name__}: {_one_line(error)}; "
            "correct its file, or install what it needs"
        ) from error
    for task in loaded["tasks"].values():
        _require_runnable(task)
        _set_shots(task, num_fewshot)
    return loaded


def _find(name: str) -> tuple[TaskManager, str]:
    """A manager that knows enough, and what to ask it for."""
    if name.endswith((".yaml", ".yml")):
        path = Path(name).expanduser()
        if not path.is_file():
            raise UsageError(f"no task file '{name}'; pass an existing .yaml file")
        return _local(path)
    if declaration := _declaration(name):
        return TaskManager(include_defaults=False), str(declaration)
    manager = _whole_index()
    if name not in manager.task_index:
        raise _unknown(name, manager.all_tasks)
    return manager, name


def _local(path: Path) -> tuple[TaskManager, str]:
    if not _declares(path.read_bytes(), "group"):
        return TaskManager(include_defaults=False), str(path)
    # A group names other tasks, which lie in files beside it, and loads by name only.
    manager = TaskManager(include_path=path.parent, include_defaults=False)
    names = (name for name, entry in manager.task_index.items() if entry.yaml_path == path)
    return manager, next(names, str(path))


def _unknown(name: str, known: list[str]) -> UsageError:
    if Path(name).is_file():
        return UsageError(f"'{name}' is a file, no task; write TASK={name}, e.g. wikitext2={name}")
    near = difflib.get_close_matches(name, dict.fromkeys([*tasks.names(), *known]), cutoff=0.5)
    hint = (
        f"did you mean {' or '.join(near)}?"
        if near
        else ("'harness list tasks' and 'lm-eval ls tasks' list what there is")
    )
    return UsageError(f"unknown lm-eval task '{name}'; {hint}")


def _declaration(name: str) -> Path | None:
    """The file of lm-eval's own that declares the single task ``name``.

    A search of the text takes a fraction of a second, lm-eval's index half a minute.
    """
    for path in sorted(Path(lm_eval_tasks.__file__).parent.rglob("*.yaml")):
        text = path.read_bytes()
        if _declares(text, "task", name) and not _declares(text, "group"):
            return path
    return None


def _declares(text: bytes, key: str, value: str | None = None) -> bool:
    quoted = rf"[\"']?{re.escape(value)}[\"']?\s*(#.*)?$" if value else ""
    pattern = rf"^[\"']?{key}[\"']?\s*:\s*{quoted}"
    return re.search(pattern.encode(), text, re.MULTILINE) is not None


@cache
def _whole_index() -> TaskManager:
    return TaskManager()


def _require_runnable(task: Any) -> None:
    if getattr(task, "UNSAFE_CODE", False):
        raise UsageError(
            f"lm-eval task '{task.task_name}' runs code that the model writes, which is not "
            "supported; choose another task"
        )
    if getattr(task, "MULTIMODAL", False):
        raise UsageError(f"lm-eval task '{task.task_name}' needs more than text; pass a text task")


def _set_shots(task: Any, num_fewshot: int | None) -> None:
    own = task.get_config("num_fewshot")
    # A task that declares 0 has its examples written into its prompt.
    if own is None or (num_fewshot is not None and own != 0):
        task.set_config(key="num_fewshot", value=num_fewshot or 0)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
