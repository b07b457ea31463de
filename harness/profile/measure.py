"""Tokens a second and peak memory of a model with random weights of the right shapes.

Prefill is one forward pass over the whole workload with logits at every position, the pass whose
products are counted. Decode adds one token after another to sequences that end as long as the
workload's. Both are medians over several runs after one that warms up.

In factor form the linear layers run as a compressed model's do, or streamlined. The cache holds
keys and values.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PretrainedConfig, PreTrainedModel, StaticCache

from harness.errors import UsageError
from harness.layers.shapes import SPREAD
from harness.profile.count import Count, Workload
from harness.profile.memory import available, peak, reset_peak
from harness.profile.skeleton import LayerShapes, Skeleton, skeleton
from harness.records.spec import Dtype
from harness.runtime.streamline import streamline

STEPS = 16
"""Tokens that one run of decoding adds to each sequence."""

ORDINARY = 3
"""First token id that is no special one in any family."""


@dataclass(frozen=True)
class Setting:
    """How to measure.

    Attributes:
        device: a torch device.
        runs: timed runs of each kind.
        compiled: whether the model goes through ``torch.compile``.
        streamlined: whether factors run with fewer operations than as they are stored.
    """

    device: str
    runs: int = 5
    compiled: bool = False
    streamlined: bool = False


@dataclass(frozen=True)
class Measured:
    """What was seen.

    Attributes:
        prefill, decode: tokens a second, of all sequences together; decode is None without cache.
        peak_bytes: most that was allocated on an accelerator, or resident on the host.
    """

    prefill: float
    decode: float | None
    peak_bytes: int


def measure(
    config: PretrainedConfig,
    shapes: LayerShapes,
    workload: Workload,
    dtype: Dtype,
    setting: Setting,
) -> Measured:
    """Run a model of ``config`` with the layers in ``shapes`` in factor form.

    Raises:
        UsageError: the model does not read tokens, or they are too few to decode.
        torch.OutOfMemoryError: the device cannot hold it.
    """
    if workload.sequence <= STEPS:
        raise UsageError(f"--sequence must be above {STEPS} to be measured")
    ids = _tokens(config, workload).to(setting.device)
    reset_peak(ids.device)
    subject = skeleton(config, dtype)
    model = materialised(subject, shapes, ids.device)
    if setting.streamlined:
        streamline(model, subject.family)
    run: Any = model
    if setting.compiled:
        torch.compiler.reset()
        run = torch.compile(model)
    caches = subject.head is not None
    whole = {"use_cache": False} if caches else {}
    with torch.inference_mode():
        prefill = _median(lambda: _seconds(lambda: run(ids, **whole), ids.device), setting.runs)
        decode = _median(lambda: _decoding(run, model, ids), setting.runs) if caches else None
    return Measured(
        prefill=workload.tokens / prefill,
        decode=workload.batch * STEPS / decode if decode else None,
        peak_bytes=peak(ids.device),
    )


def fits(needed: Count, subject: Skeleton, workload: Workload, device: str) -> bool:
    """Whether weights, logits and cache of a prefill are within the free memory of ``device``."""
    vocabulary = subject.head.weight.shape[0] if subject.head is not None else 0
    logits = workload.tokens * vocabulary * subject.model.dtype.itemsize
    return needed.bytes + logits + needed.cache_bytes < available(torch.device(device))


def materialised(subject: Skeleton, shapes: LayerShapes, device: torch.device) -> PreTrainedModel:
    """The model of ``subject``, changed in place, with random weights on ``device``."""
    model = subject.model
    dtype = model.dtype
    torch.manual_seed(0)
    for block in subject.family.all_blocks(model):
        if block.name in shapes:
            forms = shapes[block.name].items()
            with device:
                block.install({role: form.random().to(dtype) for role, form in forms})
    parameters: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, old in list(module.named_parameters(recurse=False)):
            if old.is_meta:
                if id(old) not in parameters:
                    parameters[id(old)] = nn.Parameter(_random(old, device), requires_grad=False)
                setattr(module, name, parameters[id(old)])
    nn.Module.to(model, device)
    return model


def _random(like: Tensor, device: torch.device) -> Tensor:
    values = torch.empty(like.shape, dtype=like.dtype, device=device)
    return values.fill_(1) if like.dim() == 1 else values.normal_(std=SPREAD)


def _tokens(config: PretrainedConfig, workload: Workload) -> Tensor:
    size: int | None = getattr(config.get_text_config(), "vocab_size", None)
    if size is None:
        raise UsageError(f"a {config.model_type} model does not read tokens; leave --measure out")
    special = {getattr(config, name, None) for name in ("image_token_id", "video_token_id")}
    ordinary = [token for token in range(ORDINARY, min(size, 1000)) if token not in special]
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(len(ordinary), (workload.batch, workload.sequence), generator=generator)
    return torch.tensor(ordinary)[drawn]


def _decoding(run: Any, model: PreTrainedModel, ids: Tensor) -> float:
    """Seconds of the last ``STEPS`` tokens of ``ids``; those before are prefilled first."""
    length = ids.shape[1]
    cache: Any = (
        DynamicCache(config=model.config)
        if run is model
        else StaticCache(config=model.config, max_cache_len=length)
    )
    model(ids[:, :-STEPS], past_key_values=cache, use_cache=True, logits_to_keep=1)

    def steps() -> None:
        for at in range(length - STEPS, length):
            run(ids[:, at : at + 1], past_key_values=cache, use_cache=True)

    return _seconds(steps, ids.device)


def _median(timed: Callable[[], float], runs: int) -> float:
    timed()
    return statistics.median(timed() for _ in range(runs))


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    _wait(device)
    start = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
