"""Which errors mean that memory is exhausted."""

from __future__ import annotations


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on an accelerator or on the host.

    What accelerate halves a batch for, and what Python and torch have types for.
    """
    if isinstance(error, MemoryError):
        return True
    if not isinstance(error, RuntimeError):
        return False
    import torch  # noqa: PLC0415 - heavy, and not loaded where nothing ran
    from accelerate.utils.memory import should_reduce_batch_size  # noqa: PLC0415

    # It takes the first of one or more arguments for text.
    return (
        isinstance(error, torch.OutOfMemoryError)
        or "DefaultCPUAllocator" in str(error)
        or should_reduce_batch_size(RuntimeError(str(error)))
    )
