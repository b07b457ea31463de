"""Statistics of every block from the untouched model, in one pass over the calibration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import torch
from torch import Tensor
from transformers import PreTrainedModel

from harness.compressor import BlockStatistics
from harness.families.family import Family
from harness.progress import Tracker
from harness.statistics.calibration import Calibration
from harness.statistics.observer import BlockObserver


def batches(
    calibration: Calibration, batch_size: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs ``input_ids, attention_mask`` of at most ``batch_size`` sequences on ``device``."""
    for ids, mask in zip(
        calibration.input_ids.split(batch_size),
        calibration.attention_mask.split(batch_size),
        strict=True,
    ):
        yield ids.to(device), mask.to(device)


@torch.no_grad()
def collect(
    model: PreTrainedModel,
    family: Family,
    calibration: Calibration,
    *,
    batch_size: int,
    keep_mlp_tokens: bool,
    track: Tracker,
) -> list[BlockStatistics]:
    """One ``BlockStatistics`` a block; memory does not grow with the calibration length.

    Raises:
        NonFiniteError: a weight or an activation is NaN or infinite; names the layer.
    """
    family.require_finite(model)
    blocks = family.block_list(model)
    with ExitStack() as stack:
        observers = [
            stack.enter_context(
                BlockObserver(f"{family.blocks}.{index}", block, family, keep_mlp_tokens)
            )
            for index, block in enumerate(blocks)
        ]
        total = -(-len(calibration.input_ids) // batch_size)
        pairs = batches(calibration, batch_size, model.device)
        for ids, mask in track(pairs, "calibrating", total):
            for observer in observers:
                observer.mask = mask.bool()
            model.base_model(input_ids=ids, attention_mask=mask, use_cache=False)
    return [observer.statistics() for observer in observers]
