"""Random numbers that depend on names alone, and the split a piece of content belongs to."""

from __future__ import annotations

import hashlib
import random
from typing import Literal, get_args

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


def seeded_random(*names: object) -> random.Random:
    """A generator seeded by ``names``, the same on every machine."""
    return random.Random(" ".join(map(str, names)))  # noqa: S311


def split_of(content: str) -> Split:
    """The one split ``content`` may occur in: a tenth each validates and tests.

    The content decides, not the generator's state: what is tested on is refused whenever it
    comes up while training data is generated.
    """
    tenth = int(hashlib.sha256(content.encode()).hexdigest()[:8], 16) % 10
    return "test" if tenth == 0 else "validation" if tenth == 1 else "train"
