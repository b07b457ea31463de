"""Identity of what an lm-eval task asks: its documents, its prompt, its scoring."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tasks.eval_libraries.fingerprint import canonical, configuration

PLACES = ("dataset_kwargs", "metadata")
"""Configuration that names places on this machine; what lies there is hashed itself."""


def content(task: Any) -> Iterator[bytes]:
    """All that decides the results of ``task``, the same on every machine."""
    examples = list(task.fewshot_docs()) if task.get_config("num_fewshot") else []
    yield canonical(
        configuration(task, PLACES) | {"documents": list(task.eval_docs), "examples": examples}
    )
