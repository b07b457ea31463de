"""Identity of what an lm-eval task asks: its documents, its prompt, its scoring."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tasks.eval_libraries.evaluation import seeds
from tasks.eval_libraries.fingerprint import canonical, configuration

PLACES = ("dataset_kwargs", "metadata")
"""Configuration that names places on this machine; what lies there is hashed itself."""


def content(task: Any, fewshot_seed: int) -> Iterator[bytes]:
    """All that decides the results of ``task``, the same on every machine."""
    examples = list(task.fewshot_docs()) if task.get_config("num_fewshot") else []
    drawn = seeds(task, fewshot_seed, sampled=_samples(task))
    yield canonical(
        configuration(task, PLACES)
        | {"documents": list(task.eval_docs), "examples": examples}
        | drawn
    )


def _samples(task: Any) -> bool:
    """Whether answers are drawn at random."""
    given = task.get_config("generation_kwargs") or {}
    return bool(given.get("do_sample") or given.get("temperature"))
