"""From the name of a task to the file that declares it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

from harness.plugin import UsageError
from tasks.eval_libraries.library import Library


def task_file(name: str, library_tasks: Path) -> Path | None:
    """The file that ``name`` is the path of, or that declares the single task of that name.

    A search of the library's files takes a fraction of a second, its own index half a minute.

    Args:
        name: a task's name, or the path of a YAML file.
        library_tasks: the folder of the library's own task files.

    Returns:
        An absolute path; None where the index must be asked.

    Raises:
        UsageError: ``name`` is the path of a YAML file that does not exist.
    """
    if name.endswith((".yaml", ".yml")):
        path = Path(name).expanduser().resolve()
        if not path.is_file():
            raise UsageError(f"no task file '{name}'; pass an existing .yaml file")
        return path
    for path in sorted(library_tasks.rglob("*.yaml")):
        text = path.read_bytes()
        if _declares(text, "task", name) and not declares_group(text):
            return path
    return None


def declares_group(text: bytes) -> bool:
    """Whether the text of a YAML file declares a group of tasks."""
    return _declares(text, "group")


def unknown_task(library: Library, name: str, known: Sequence[str]) -> UsageError:
    """Error for a name that no task has; suggests those of ``known`` that are near it."""
    if Path(name).is_file():
        return UsageError(
            f"'{name}' is a file, no task; write TASK={name}, e.g. {library.own_task}={name}"
        )
    near = difflib.get_close_matches(name, dict.fromkeys(known), cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else library.listing
    return UsageError(f"unknown {library.label(name)}; {hint}")


def _declares(text: bytes, key: str, value: str | None = None) -> bool:
    quoted = rf"[\"']?{re.escape(value)}[\"']?\s*(#.*)?$" if value else ""
    pattern = rf"^[\"']?{key}[\"']?\s*:\s*{quoted}"
    return re.search(pattern.encode(), text, re.MULTILINE) is not None
