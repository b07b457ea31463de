"""Identity of what an lm-eval task asks: its documents, its prompt, its scoring."""

from __future__ import annotations

import hashlib
import json
import re
from importlib.metadata import version
from typing import Any

from harness.records.record import DataFacts

ELSEWHERE = ("dataset_kwargs", "metadata")
"""Configuration that names places on this machine; what lies there is hashed itself."""


def data_facts(name: str, tasks: list[Any]) -> DataFacts:
    """Facts of the documents and prompts of ``tasks``, the same on every machine."""
    state = hashlib.sha256()
    for task in sorted(tasks, key=lambda task: str(task.task_name)):
        state.update(_canonical(_content(task)).encode())
    return DataFacts(
        reference=name,
        fingerprint=state.hexdigest(),
        revision=f"lm-eval {version('lm-eval')}",
    )


def _content(task: Any) -> dict[str, Any]:
    config = {key: value for key, value in task.dump_config().items() if key not in ELSEWHERE}
    examples = list(task.fewshot_docs()) if task.get_config("num_fewshot") else []
    return {
        "version": task.VERSION,
        "config": config,
        "documents": list(task.eval_docs),
        "examples": examples,
    }


def _canonical(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    # The text of a function without source holds its address in memory.
    return re.sub(r" at 0x[0-9a-f]+", "", text)
