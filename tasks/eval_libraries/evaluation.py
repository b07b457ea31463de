"""What every evaluation by a library begins with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from transformers import set_seed

from harness.plugin import UsageError


def seed_everything(tasks: Iterable[Any], seed: int) -> None:
    """Draw few-shot examples, and all else, from ``seed``."""
    for task in tasks:
        task.set_fewshot_seed(seed=seed)
    set_seed(seed)


def whole_limit(limit: float | None) -> int | None:
    """``limit`` in documents; the libraries would take one below 1 for a share.

    Raises:
        UsageError: it is no integer from 1.
    """
    if limit is None:
        return None
    if limit < 1 or int(limit) != limit:
        raise UsageError(f"limit {limit} is no number of documents; pass an integer from 1")
    return int(limit)
