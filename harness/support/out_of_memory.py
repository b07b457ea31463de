"""Which errors mean that memory is exhausted."""

from __future__ import annotations

import torch


def out_of_memory(error: Exception) -> bool:
    """Whether memory ran out, on an accelerator or on the host.

    torch has no type of its own for the latter.
    """
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    )
