"""Batch sizes are halved until an evaluation fits."""

from __future__ import annotations

import pytest
import torch

from harness.errors import InfrastructureError
from harness.evaluation.batch_size import largest_fitting_batch


def fits_up_to(largest: int):
    def evaluate(batch_size: int) -> str:
        if batch_size > largest:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")
        return f"done with {batch_size}"

    return evaluate


@pytest.mark.parametrize(
    ("start", "largest", "found"), [(8, 8, 8), (8, 2, 2), (8, 3, 2), (5, 1, 1)]
)
def test_halves_until_it_fits(start: int, largest: int, found: int) -> None:
    assert largest_fitting_batch(fits_up_to(largest), start) == (f"done with {found}", found)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 1.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("MPS backend out of memory (1.00 GiB)"),
    ],
    ids=["python", "host", "mps"],
)
def test_every_kind_of_memory_counts(error: Exception) -> None:
    def evaluate(batch_size: int) -> int:
        if batch_size > 2:
            raise error
        return batch_size

    assert largest_fitting_batch(evaluate, 8) == (2, 2)


def test_says_so_when_nothing_fits() -> None:
    with pytest.raises(InfrastructureError, match="one sequence at a time"):
        largest_fitting_batch(fits_up_to(0), 4)


def test_other_errors_pass() -> None:
    def broken(batch_size: int) -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        largest_fitting_batch(broken, 4)
