"""What a task's file must say, as the libraries would go on without a word."""

from __future__ import annotations

from typing import Any

from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES

from harness.plugin import UsageError
from tasks.eval_libraries.library import Library

FILES = ("data_files", "data_dir")


def require_files(library: Library, task: Any, options: dict[str, Any] | None) -> None:
    """Refuse a reader of files (``json``, ``csv``, ...) without files.

    datasets would read whatever lies in the working folder and below it.

    Args:
        library: to which the task belongs.
        task: before its data are loaded.
        options: its ``dataset_kwargs``.
    """
    if task.DATASET_PATH in _PACKAGED_DATASETS_MODULES and not any(map((options or {}).get, FILES)):
        raise UsageError(
            f"{library.label(task.config.task)} reads {task.DATASET_PATH} files and names none; "
            "name them as data_files under dataset_kwargs in its file"
        )


def require_columns(library: Library, task: Any, base: type) -> None:
    """Refuse a bare word that is no column of the data, which would itself be every prompt.

    Args:
        library: to which the task belongs.
        task: with its documents.
        base: the library's class of tasks that are configured by a file.
    """
    # A function of the task that scores may look at no target.
    scored = () if callable(task.get_config("process_results")) else ("doc_to_target",)
    for entry in ("doc_to_text", *scored):
        # A class with a method of its own does not read the entry.
        if getattr(type(task), entry) is not getattr(base, entry):
            continue
        word = task.get_config(entry)
        if isinstance(word, str) and word.isidentifier() and word not in task.features:
            known = ", ".join(sorted(task.features))
            raise UsageError(
                f"{library.label(task.task_name)} names the column '{word}' as {entry}, which its "
                f"data lack (they have {known}); correct its file, or write "
                f"\"{{{{ '{word}' }}}}\" where the word itself is meant"
            )
