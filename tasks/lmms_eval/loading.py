"""From the name of an lmms-eval task to the task with its documents."""

from __future__ import annotations

import difflib
import re
from functools import cache
from pathlib import Path
from typing import Any

from datasets.exceptions import DatasetsError
from huggingface_hub import get_token
from lmms_eval import tasks as lmms_eval_tasks
from lmms_eval.api.task import ConfigurableTask
from lmms_eval.tasks import TaskManager
from lmms_eval.utils import load_yaml_config

from harness.errors import AssetError, HarnessError, UsageError
from harness.support.offline import FIX
from tasks.lmms_eval.isolation import replaced

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
    with replaced(ConfigurableTask, "download", _download_once):
        try:
            loaded = _load(name)
        except HarnessError:
            raise
        except ImportError as error:
            raise UsageError(
                f"lmms-eval task '{name}' does not load: {one_line(error)}; where that is a "
                "missing package, install it with pip"
            ) from error
        # Task files run code of their own, which may raise anything.
        except Exception as error:
            raise UsageError(
                f"lmms-eval task '{name}' does not load: {type(error).__name__}: {one_line(error)}"
            ) from error
    for task in leaves(loaded):
        _require_runnable(task)
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


def one_line(error: BaseException) -> str:
    """What ``error`` says, without line breaks."""
    return " ".join(str(error).split())


def _load(name: str) -> dict[Any, Any]:
    if name.endswith((".yaml", ".yml")):
        path = Path(name).expanduser().resolve()
        if not path.is_file():
            raise UsageError(f"no task file '{name}'; pass an existing .yaml file")
        return _from_file(path)
    if declaration := _declaration(name):
        return _from_file(declaration)
    manager = _whole_index()
    if name not in manager.task_index:
        raise _unknown(name, manager.all_tasks)
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


def _declaration(name: str) -> Path | None:
    """The file of lmms-eval's own that declares the single task ``name``.

    A search of the text takes a fraction of a second, lmms-eval's index ten.
    """
    declares = re.compile(rf"^task\s*:\s*[\"']?{re.escape(name)}[\"']?\s*(#.*)?$", re.MULTILINE)
    for path in sorted(Path(lmms_eval_tasks.__file__).parent.rglob("*.yaml")):
        text = path.read_text(errors="ignore")
        if declares.search(text) and not re.search(r"^group\s*:", text, re.MULTILINE):
            return path
    return None


@cache
def _whole_index() -> TaskManager:
    return TaskManager()


def _unknown(name: str, known: list[str]) -> UsageError:
    near = difflib.get_close_matches(name, known, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "'lmms-eval tasks' lists them"
    return UsageError(f"unknown lmms-eval task '{name}'; {hint}")


def _download_once(task: Any, dataset_kwargs: dict[str, Any] | None = None) -> None:
    """``ConfigurableTask.download`` without its five attempts, eight seconds apart."""
    _require_runnable(task)
    wanted = dict(dataset_kwargs or {})
    # Most tasks ask for an account though their data is open to all.
    if wanted.get("token") is True and get_token() is None:
        del wanted["token"]
    try:
        _DOWNLOAD(task, wanted or None)
    except (OSError, DatasetsError) as error:
        where = " ".join(filter(None, [task.DATASET_PATH, task.DATASET_NAME]))
        raise AssetError(
            f"the data set {where} of lmms-eval task '{task.task_name}' cannot be had: "
            f"{one_line(error)}; {FIX} and HF_HUB_OFFLINE is not set (`hf auth login` where it "
            "asks for an account), or pass a task YAML file that names local data, as "
            "lmms-eval:FILE.yaml"
        ) from error


_DOWNLOAD = ConfigurableTask.download.__wrapped__


def _require_runnable(task: Any) -> None:
    kind = task.OUTPUT_TYPE
    if kind != "generate_until":
        raise UsageError(
            f"lmms-eval task '{task.task_name}' is of kind {kind}; supported is generate_until"
        )
    if any(key in (task.get_config("dataset_kwargs") or {}) for key in VIDEO):
        raise UsageError(f"lmms-eval task '{task.task_name}' shows videos; supported are images")
