"""Which errors mean that memory is exhausted."""

from __future__ import annotations

import pytest
import torch

from harness.support.out_of_memory import out_of_memory


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("no"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
        RuntimeError("HIP out of memory. Tried to allocate 1.00 GiB.", "more"),
    ],
)
def test_it_ran_out(error):
    assert out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("shapes do not match"),
        RuntimeError(),
        RuntimeError(5),
        ValueError("CUDA out of memory."),
        OSError(12, "Cannot allocate memory"),
        KeyboardInterrupt(),
    ],
)
def test_it_is_something_else(error):
    assert not out_of_memory(error)


def test_a_tensor_that_no_host_holds():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert out_of_memory(caught.value)
