"""Hidden states on their way through a stack, one block at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from harness.calibration.text import Calibration
from harness.families.stack import Block
from harness.statistics.block_statistics import BlockStatistics
from harness.statistics.observer import BlockObserver
from harness.statistics.packed_moments import unpacked

Rest = tuple[tuple[Any, ...], dict[str, Any]]
"""What a block receives beside the hidden states: masks, positions, rotary embeddings."""


class BlockStream:
    """Feeds each block of one stack with the outputs of the (already compressed) blocks before it.

    Whatever else a block receives may differ from block to block, so it is taken from one pass
    through the whole model, in which the blocks themselves do nothing. A vision tower runs only
    for the batches that show it images.

    Attributes:
        blocks: of the stack.
        hidden: hidden states of each batch.
        masks: where its real tokens are, ``[batch, length]``.
    """

    @torch.no_grad()
    def __init__(
        self,
        model: PreTrainedModel,
        blocks: Sequence[Block],
        calibration: Calibration,
        batch_size: int,
    ) -> None:
        self.blocks = blocks
        self.hidden: list[Tensor] = []
        self._rest: list[list[Rest]] = [[] for _ in blocks]
        self.masks: list[Tensor] = []
        self._mask = torch.empty(0)
        with ExitStack() as stack:
            for index, block in enumerate(blocks):
                stack.enter_context(replaced_forward(block.module, self._stand_in(index)))
            for inputs in calibration.batches(batch_size, model.device):
                self._mask = inputs["attention_mask"].bool()
                model.base_model(**inputs, use_cache=False)

    @torch.no_grad()
    def measure(
        self, index: int, keep_mlp_tokens: bool, *, advance: bool = False
    ) -> BlockStatistics:
        """Statistics of block ``index`` on the hidden states that reach it.

        They stay where they are unless they ``advance`` through the block as it is. Nothing in it
        reads what its down projection gives, which otherwise need not be computed.

        Raises:
            NonFiniteError: an activation is NaN or infinite; names the layer.
            UsageError: nothing in the calibration reaches the block.
        """
        block = self.blocks[index]
        down = block.module.get_submodule(block.stack.path("down"))
        with ExitStack() as stack:
            observer = stack.enter_context(BlockObserver(block, keep_mlp_tokens))
            if not advance:
                stack.enter_context(replaced_forward(down, self._nothing))
            for batch, mask in enumerate(self.masks):
                observer.mask = mask
                given = self.run(index, batch)
                if advance:
                    self.hidden[batch] = given
        if advance:
            self._rest[index].clear()
        return unpacked(observer.statistics())

    @torch.no_grad()
    def advance(self, index: int) -> None:
        """Send the hidden states through block ``index``."""
        for batch in range(len(self.masks)):
            self.hidden[batch] = self.run(index, batch)
        self._rest[index].clear()

    def run(self, index: int, batch: int) -> Tensor:
        """What block ``index`` makes of a batch, whose hidden states stay where they are."""
        arguments, keywords = self._rest[index][batch]
        return self.blocks[index].module(self.hidden[batch], *arguments, **keywords)

    def _nothing(self, inner: Tensor) -> Tensor:
        return inner.new_zeros(1).expand(*inner.shape[:-1], self.hidden[0].shape[-1])

    def _stand_in(self, index: int) -> Callable[..., Tensor]:
        def forward(hidden: Tensor, *arguments: Any, **keywords: Any) -> Tensor:
            if index == 0:
                self.hidden.append(hidden)
                self.masks.append(self._mask)
            self._rest[index].append((arguments, keywords))
            return hidden

        return forward


@contextmanager
def replaced_forward(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """``module`` runs as ``forward`` for as long."""
    own = vars(module).get("forward")  # a block that is on disk has one that reads it
    module.forward = forward
    try:
        yield
    finally:
        if own is None:
            del module.forward
        else:
            module.forward = own
