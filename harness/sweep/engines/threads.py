"""How many threads a worker has."""

from __future__ import annotations

import os


def threads_of_each(workers: int) -> int:
    """The share of each of ``workers`` in the cores that this process may use."""
    return max(1, len(os.sched_getaffinity(0)) // workers)
