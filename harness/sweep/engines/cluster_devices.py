"""What the engines of clusters have in common: a scheduler that deals out GPUs itself."""

from __future__ import annotations

import json
from collections.abc import Sequence

from harness.errors import UsageError


def require_kinds(engine: str, devices: Sequence[str]) -> None:
    """Refuse single GPUs: a worker sees those it is given only, numbered from 0.

    Raises:
        UsageError: one of ``devices`` has a number.
    """
    for device in devices:
        kind, colon, _ = device.partition(":")
        if colon:
            raise UsageError(
                f"--devices: engine '{engine}' deals out single devices itself; pass {kind}, "
                f"not {device}"
            )


def gpus_for(job: str, device: str | None, wanted: int | None) -> int:
    """GPUs for a worker: as many as ``wanted``, by default one if ``job`` is to run on a GPU."""
    if wanted is not None:
        return wanted
    return int((device or json.loads(job)["request"]["device"]).startswith("cuda"))
