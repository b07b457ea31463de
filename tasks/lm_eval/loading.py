"""From the name of an lm-eval task to the task with its documents."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from lm_eval import tasks as lm_eval_tasks
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks import TaskManager

from harness.evaluation.task import tasks
from harness.plugin import UsageError
from tasks.eval_libraries.failures import named_downloading, named_loading
from tasks.eval_libraries.library import LM_EVAL
from tasks.eval_libraries.names import declares_group, task_file, unknown_task
from tasks.eval_libraries.replacing import replaced
from tasks.eval_libraries.task_files import require_columns, require_files


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
    with named_loading(LM_EVAL, name), replaced(ConfigurableTask, "download", _download):
        manager, spec = _find(name)
        loaded = manager.load([spec])
    for task in loaded["tasks"].values():
        _require_runnable(task)
        require_columns(LM_EVAL, task, ConfigurableTask)
        _set_shots(task, num_fewshot)
        _require_examples(task)
    return loaded


def _find(name: str) -> tuple[TaskManager, str]:
    """A manager that knows enough, and what to ask it for."""
    if path := task_file(name, Path(lm_eval_tasks.__file__).parent):
        return _from_file(path)
    manager = _whole_index()
    if name not in manager.task_index:
        raise unknown_task(LM_EVAL, name, [*tasks.names(), *manager.all_tasks])
    return manager, name


def _from_file(path: Path) -> tuple[TaskManager, str]:
    if not declares_group(path.read_bytes()):
        return TaskManager(include_defaults=False), str(path)
    # A group names other tasks, which lie in files beside it, and loads by name only.
    manager = TaskManager(include_path=path.parent, include_defaults=False)
    names = (name for name, entry in manager.task_index.items() if entry.yaml_path == path)
    return manager, next(names, str(path))


@cache
def _whole_index() -> TaskManager:
    return TaskManager()


def _download(task: Any, dataset_kwargs: dict[str, Any] | None = None, **options: Any) -> None:
    require_files(LM_EVAL, task, dataset_kwargs)
    with named_downloading(LM_EVAL, task):
        _DOWNLOAD(task, dataset_kwargs, **options)


_DOWNLOAD = ConfigurableTask.download


def _require_runnable(task: Any) -> None:
    if getattr(task, "UNSAFE_CODE", False):
        raise UsageError(
            f"{LM_EVAL.label(task.task_name)} runs code that the model writes, which is not "
            "supported; choose another task"
        )
    if getattr(task, "MULTIMODAL", False):
        raise UsageError(f"{LM_EVAL.label(task.task_name)} needs more than text; pass a text task")


def _require_examples(task: Any) -> None:
    """Refuse more examples than there are beside the document that is asked."""
    shots = task.get_config("num_fewshot") or 0
    if not shots:
        return
    with named_loading(LM_EVAL, task.task_name):
        available = len(list(task.fewshot_docs() or ()))
    # Of the documents themselves, the one that is asked is left out.
    if task.fewshot_cfg.split == task.config.test_split:
        available -= 1
    if shots > available:
        raise UsageError(
            f"{LM_EVAL.label(task.task_name)} has {max(available, 0)} examples for a prompt, "
            f"{shots} are asked; pass a smaller --num-fewshot, or correct num_fewshot and "
            "fewshot_split in its file"
        )


def _set_shots(task: Any, num_fewshot: int | None) -> None:
    own = task.get_config("num_fewshot")
    # A task that declares 0 has its examples written into its prompt.
    if own is None or (num_fewshot is not None and own != 0):
        task.set_config(key="num_fewshot", value=num_fewshot or 0)
