"""Hidden states on their way through the decoder, one block at a time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from harness.compressor import BlockStatistics
from harness.families.family import Family
from harness.statistics.calibration import Calibration
from harness.statistics.collect import batches
from harness.statistics.observer import BlockObserver

Rest = tuple[tuple[Any, ...], dict[str, Any]]
"""What a block receives beside the hidden states: masks, positions, rotary embeddings."""


class BlockFlow:
    """Feeds each block with the outputs of the (already compressed) blocks before it.

    Whatever else a block receives may differ from block to block, so it is taken from one pass
    through the whole model, in which the blocks themselves do nothing.
    """

    @torch.no_grad()
    def __init__(
        self, model: PreTrainedModel, family: Family, calibration: Calibration, batch_size: int
    ) -> None:
        self._family = family
        self._blocks = family.block_list(model)
        self._hidden: list[Tensor] = []
        self._rest: list[list[Rest]] = [[] for _ in self._blocks]
        self._masks: list[Tensor] = []
        with ExitStack() as stack:
            for index, block in enumerate(self._blocks):
                block.forward = self._stand_in(index)
                stack.callback(delattr, block, "forward")
            for ids, mask in batches(calibration, batch_size, model.device):
                self._masks.append(mask.bool())
                model.base_model(input_ids=ids, attention_mask=mask, use_cache=False)

    @torch.no_grad()
    def measure(self, index: int, keep_mlp_tokens: bool) -> BlockStatistics:
        """Statistics of block ``index`` on the hidden states that reach it.

        Raises:
            NonFiniteError: an activation is NaN or infinite; names the layer.
        """
        name, block = f"{self._family.blocks}.{index}", self._blocks[index]
        with BlockObserver(name, block, self._family, keep_mlp_tokens) as observer:
            for batch, mask in enumerate(self._masks):
                observer.mask = mask
                self._run(index, batch)
        return observer.statistics()

    @torch.no_grad()
    def advance(self, index: int) -> None:
        """Send the hidden states through block ``index``."""
        for batch in range(len(self._masks)):
            self._hidden[batch] = self._run(index, batch)
        self._rest[index].clear()

    def _run(self, index: int, batch: int) -> Tensor:
        arguments, keywords = self._rest[index][batch]
        return self._blocks[index](self._hidden[batch], *arguments, **keywords)

    def _stand_in(self, index: int) -> Callable[..., Tensor]:
        def forward(hidden: Tensor, *arguments: Any, **keywords: Any) -> Tensor:
            if index == 0:
                self._hidden.append(hidden)
            self._rest[index].append((arguments, keywords))
            return hidden

        return forward
