"""From the name of an lmms-eval task to the task with its documents."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from huggingface_hub import get_token
from lmms_eval import tasks as lmms_eval_tasks
from lmms_eval.api.task import ConfigurableTask
from lmms_eval.tasks import TaskManager
from lmms_eval.utils import load_yaml_config

from harness.plugin import UsageError
from tasks.eval_libraries.failures import named_downloading, named_loading
from tasks.eval_libraries.library import LMMS_EVAL
from tasks.eval_libraries.names import task_file, unknown_task
from tasks.eval_libraries.replacing import replaced
from tasks.eval_libraries.task_files import require_columns, require_files

VIDEO = ("video", "From_YouTube")


def load(name: str) -> dict[Any, Any]:
    """Load the task, group or tag called ``name`` with all its documents.

    Args:
        name: a name of lmms-eval's own, or the path of a task YAML file.

    Returns:
        What lmms-eval's ``TaskManager`` gives: tasks by name, or groups of them.

    Raises:
        UsageError: there is no such task, or it cannot run here.
        AssetError: its data cannot be had.
    """
    with (
        named_loading(LMMS_EVAL, name),
        replaced(ConfigurableTask, "download", _download_once),
    ):
        loaded = _load(name)
    for task in leaves(loaded):
        _require_runnable(task)
        require_columns(LMMS_EVAL, task, ConfigurableTask)
        if task.get_config("num_fewshot") is None:
            task.set_config(key="num_fewshot", value=0)
    return loaded


def leaves(loaded: dict[Any, Any]) -> list[Any]:
    """The single tasks in what ``load`` gives."""
    return [
        task
        for value in loaded.values()
        for task in (leaves(value) if isinstance(value, dict) else [value])
    ]


def _load(name: str) -> dict[Any, Any]:
    if path := task_file(name, Path(lmms_eval_tasks.__file__).parent):
        return _from_file(path)
    manager = _whole_index()
    if name not in manager.task_index:
        raise unknown_task(LMMS_EVAL, name, manager.all_tasks)
    return dict(manager.load_task_or_group(name))


def _from_file(path: Path) -> dict[Any, Any]:
    config = load_yaml_config(str(path), mode="simple")
    if not isinstance(config.get("task"), str) or "class" in config:
        return _from_folder(path, config)
    return {config["task"]: ConfigurableTask(config=load_yaml_config(str(path), mode="full"))}


def _from_folder(path: Path, config: dict[str, Any]) -> dict[Any, Any]:
    """A group, whose tasks lie beside it or are lmms-eval's own, or a task in Python."""
    manager = TaskManager(include_path=str(path.parent), include_defaults=False)
    members = config["task"]
    if isinstance(members, str):
        return dict(manager.load_task_or_group(members))
    if any(isinstance(name, str) and name not in manager.task_index for name in members):
        manager = TaskManager(include_path=str(path.parent))
    return dict(manager.load_task_or_group(config["group"]))


@cache
def _whole_index() -> TaskManager:
    return TaskManager()


def _download_once(task: Any, dataset_kwargs: dict[str, Any] | None = None) -> None:
    """``ConfigurableTask.download`` without its five attempts, eight seconds apart."""
    _require_runnable(task)
    require_files(LMMS_EVAL, task, dataset_kwargs)
    wanted = dict(dataset_kwargs or {})
    # Most tasks ask for an account though their data is open to all.
    if wanted.get("token") is True and get_token() is None:
        del wanted["token"]
    with named_downloading(LMMS_EVAL, task):
        _DOWNLOAD(task, wanted or None)


_DOWNLOAD = ConfigurableTask.download.__wrapped__


def _require_runnable(task: Any) -> None:
    kind = task.OUTPUT_TYPE
    if kind != "generate_until":
        raise UsageError(
            f"{LMMS_EVAL.label(task.task_name)} is of kind {kind}; supported is generate_until"
        )
    if any(key in (task.get_config("dataset_kwargs") or {}) for key in VIDEO):
        raise UsageError(f"{LMMS_EVAL.label(task.task_name)} shows videos; supported are images")
