"""Identity of what tasks ask."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from typing import Any

from harness.plugin import DataFacts
from tasks.eval_libraries.failures import named_reading
from tasks.eval_libraries.library import Library


def data_facts(
    library: Library,
    name: str,
    tasks: Sequence[Any],
    content: Callable[[Any], Iterable[bytes]],
) -> DataFacts:
    """Facts of what ``tasks`` ask, the same on every machine.

    Args:
        library: whose tasks they are.
        name: what the user asked for.
        tasks: the single tasks, in any order.
        content: all that decides a task's results, in an order of its own.

    Raises:
        AssetError: something in them cannot be read.
    """
    state = hashlib.sha256()
    for task in sorted(tasks, key=lambda task: str(task.task_name)):
        with named_reading(library, str(task.task_name)):
            for part in content(task):
                state.update(part)
    return DataFacts(
        reference=name,
        fingerprint=state.hexdigest(),
        revision=f"{library.name} {version(library.name)}",
    )


def configuration(task: Any, places: Sequence[str]) -> dict[str, Any]:
    """A task's version and configuration without ``places``, its keys that name places."""
    config = {key: value for key, value in task.dump_config().items() if key not in places}
    return {"version": task.VERSION, "config": config}


def canonical(content: Any) -> bytes:
    """``content`` as JSON that is the same in every process."""
    text = json.dumps(content, sort_keys=True, default=str)
    # The text of a function without source holds its address in memory.
    return re.sub(r" at 0x[0-9a-f]+", "", text).encode()
