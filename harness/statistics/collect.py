"""Statistics of every block from the untouched model, in one pass over the calibration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial

import torch
from transformers import PreTrainedModel

from harness.calibration.text import Calibration, Inputs
from harness.families.stack import Block
from harness.statistics.block_statistics import BackwardStatistics, BlockStatistics
from harness.statistics.gradients import collect_gradients
from harness.statistics.observer import BlockObserver
from harness.support.malloc import return_gaps
from harness.support.progress import Tracker


@torch.no_grad()
def collect(
    model: PreTrainedModel,
    blocks: Sequence[Block],
    calibration: Calibration,
    *,
    batch_size: int,
    keep_mlp_tokens: bool,
    track: Tracker,
    gradients: bool = False,
) -> list[BlockStatistics]:
    """One ``BlockStatistics`` for each of ``blocks``, whatever the calibration's length.

    All of them are held together, so their moments are ``PackedMoments``. With ``gradients`` one
    sample at a time passes, whatever ``batch_size``, which changes their last digits.

    Raises:
        InfrastructureError: with ``gradients``, one sample does not fit in memory.
        NonFiniteError: a weight, an activation or a gradient is NaN or infinite; names the layer.
        UsageError: nothing in the calibration reaches one of the blocks, or the loss depends on
            none.
    """
    for block in blocks:
        block.require_finite()
    observers = [BlockObserver(block, keep_mlp_tokens, compared=gradients) for block in blocks]
    watching = partial(_watching, observers)
    backward: list[BackwardStatistics] | None = None
    if gradients:
        backward = collect_gradients(model, blocks, calibration, track, watching)
    else:
        total = -(-len(calibration) // batch_size)
        batches = calibration.batches(batch_size, model.device)
        for inputs in track(batches, "calibrating", total):
            with watching(inputs):
                model.base_model(**inputs, use_cache=False)
    if backward is None:
        seen = [observer.statistics() for observer in observers]
    else:
        seen = [_together(*pair) for pair in zip(observers, backward, strict=True)]
    return_gaps()
    return seen


@contextmanager
def _watching(observers: Sequence[BlockObserver], inputs: Inputs) -> Iterator[None]:
    """A forward pass over ``inputs`` is seen by all ``observers``."""
    with ExitStack() as stack:
        for observer in observers:
            observer.mask = inputs["attention_mask"].bool()
            stack.enter_context(observer)
        yield


def _together(observer: BlockObserver, backward: BackwardStatistics) -> BlockStatistics:
    confirmed = {**observer.confirmed(), **backward.confirmed}
    return replace(observer.statistics(), backward=replace(backward, confirmed=confirmed))
