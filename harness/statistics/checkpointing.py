"""What a forward pass keeps of each block for the way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from harness.support.malloc import return_gaps

ROOM = 1 << 29
"""Bytes of activations that may wait for the way back."""


class KeptActivations:
    """All activations of the first blocks of a pass, of the others only what enters them.

    Those are computed again on the way back. Call ``begin`` before each forward pass and ``run``
    in the place of every block.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._weights = {_storage(t) for t in (*model.parameters(), *model.buffers())}

    def begin(self) -> None:
        """Expect a forward pass."""
        self._counted = set(self._weights)
        self._held = 0

    def run(self, forward: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        """What ``forward`` gives, kept whole or checkpointed once ``ROOM`` is taken."""
        if self._held >= ROOM:
            return checkpoint(forward, *arguments, use_reentrant=False, **keywords)
        with saved_tensors_hooks(self._count, lambda kept: kept):
            given = forward(*arguments, **keywords)
        if self._held >= ROOM:
            return_gaps()  # among what waits
        return given

    def _count(self, tensor: Tensor) -> Tensor:
        storage = _storage(tensor)
        if storage not in self._counted:
            self._counted.add(storage)
            self._held += tensor.untyped_storage().nbytes()
        return tensor.detach()  # it must not hold itself by what computed it


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
