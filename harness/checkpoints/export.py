"""Write a compressed model as an ordinary checkpoint of the original architecture."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from accelerate.hooks import AlignDevicesHook

from harness.checkpoints.atomic_folder import filled_aside
from harness.checkpoints.ordinary import ordinary_model
from harness.checkpoints.save import write_companions
from harness.checkpoints.shards import SHARD_BYTES
from harness.errors import UsageError
from harness.layers.factors import stored_bytes
from harness.models.language_model import LanguageModel


@torch.no_grad()
def export_dense(
    subject: LanguageModel,
    folder: str | Path,
    shard_bytes: int = SHARD_BYTES,
    *,
    narrow: bool = False,
) -> Path:
    """Multiply all factors out, in float64, and save what ``save_pretrained`` makes of it.

    Any software that reads the original model reads the result. It has the dense model's size,
    unless ``narrow``; one shard at a time is held. Value and output, or query and key, may have
    been turned into another basis; as a pair their products are those of the factors.

    Args:
        subject: a compressed model, in memory or with its blocks on disk.
        folder: where to; absent or empty.
        shard_bytes: size above which weights are split into several files.
        narrow: leave out the neurons that MLPs have lost, equally many in every block.

    Returns:
        The folder.

    Raises:
        UsageError: the model is not compressed, the folder is taken, a layer got a bias that the
            architecture has no place for, or ``narrow`` and no block has lost neurons, blocks
            have lost different numbers, or a configuration has no place for what is left.
        InfrastructureError: there is not enough space, or the folder cannot be written.
    """
    if subject.compression is None:
        raise UsageError(f"{subject.asset.reference} is not compressed; it is an ordinary model")
    target = Path(folder).expanduser().resolve()
    ordinary = ordinary_model(subject, "one" if narrow else "dense")
    model: Any = ordinary.model
    with filled_aside(target, stored_bytes(model)) as aside:
        # To transformers a model on disk, which it reads shard by shard.
        model.hf_device_map = {"": "disk"}
        model._hf_hook = AlignDevicesHook(weights_map=ordinary.tensors)  # noqa: SLF001
        with warnings.catch_warnings(action="ignore"):
            model.save_pretrained(aside, max_shard_size=shard_bytes)
        write_companions(subject, aside)
    return target
