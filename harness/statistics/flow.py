"""Hidden states on their way through the decoder, one block at a time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from harness.compressor import BlockStatistics
from harness.families.family import Family
from harness.statistics.calibration import Calibration
from harness.statistics.collect import batches
from harness.statistics.observer import BlockObserver


class _ReachedFirstBlock(Exception):  # noqa: N818
    """Stops a forward pass once the first block's inputs are known."""


class BlockFlow:
    """Feeds each block with the outputs of the (already compressed) blocks before it."""

    @torch.no_grad()
    def __init__(
        self, model: PreTrainedModel, family: Family, calibration: Calibration, batch_size: int
    ) -> None:
        self._family = family
        self._hidden: list[Tensor] = []
        self._arguments: list[dict[str, Any]] = []
        self._masks: list[Tensor] = []

        def capture(_: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> None:
            self._hidden.append(inputs[0])
            self._arguments.append(keywords)
            raise _ReachedFirstBlock

        first = family.block_list(model)[0]
        handle = first.register_forward_pre_hook(capture, with_kwargs=True)
        try:
            for ids, mask in batches(calibration, batch_size, model.device):
                self._masks.append(mask.bool())
                try:
                    model.base_model(input_ids=ids, attention_mask=mask, use_cache=False)
                except _ReachedFirstBlock:
                    continue
        finally:
            handle.remove()

    @torch.no_grad()
    def measure(self, name: str, block: nn.Module, keep_mlp_tokens: bool) -> BlockStatistics:
        """Statistics of ``block``, called ``name`` in errors, on the hidden states that reach it.

        Raises:
            NonFiniteError: an activation is NaN or infinite.
        """
        with BlockObserver(name, block, self._family, keep_mlp_tokens) as observer:
            for hidden, arguments, mask in zip(
                self._hidden, self._arguments, self._masks, strict=True
            ):
                observer.mask = mask
                block(hidden, **arguments)
        return observer.statistics()

    @torch.no_grad()
    def advance(self, block: nn.Module) -> None:
        """Send the hidden states through ``block``."""
        for index, arguments in enumerate(self._arguments):
            self._hidden[index] = block(self._hidden[index], **arguments)
