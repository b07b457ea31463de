"""What every evaluation by a library begins with."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from harness.plugin import UsageError

LIBRARY_SEED = 1234
"""What both libraries' own commands seed numpy, torch and the draw of examples with."""


@dataclass(frozen=True)
class Generators:
    """Where this process's generators stand, from which tasks may shuffle their documents."""

    python: Any
    numpy: Any

    @classmethod
    def now(cls) -> Generators:
        """Their present states."""
        return cls(random.getstate(), np.random.get_state())  # noqa: NPY002 - what tasks use

    def restore(self) -> None:
        """Go on from these states."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)  # noqa: NPY002


def seed_loading() -> None:
    """Seed the generators as the libraries' own commands do before they load tasks."""
    random.seed(0)
    np.random.seed(LIBRARY_SEED)  # noqa: NPY002


def seed_evaluation(
    tasks: Iterable[Any], loaded: Generators, *, fewshot_seed: int, seed: int
) -> None:
    """Go on from where loading ended, as the libraries' own commands do.

    Args:
        tasks: those that are to be run.
        loaded: the generators as loading left them.
        fewshot_seed: of the draw of examples for the prompt.
        seed: of answers drawn at random, counted from the libraries' own.
    """
    loaded.restore()
    torch.manual_seed(LIBRARY_SEED + seed)
    for task in tasks:
        task.set_fewshot_seed(seed=fewshot_seed)


def seeds(task: Any, fewshot_seed: int, *, sampled: bool) -> dict[str, Any]:
    """The seeds that decide the results of ``task``, as its fingerprint holds them.

    Empty for a task that draws nothing.
    """
    decide = {}
    if task.get_config("num_fewshot") and not takes_the_first(task):
        decide["fewshot"] = fewshot_seed
    if sampled:
        decide["answers"] = LIBRARY_SEED
    return {"seeds": decide} if decide else {}


def takes_the_first(task: Any) -> bool:
    """Whether its examples are the first there are, whatever the seed."""
    return type(getattr(task, "sampler", None)).__name__ == "FirstNSampler"


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
