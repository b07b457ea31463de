"""Bytes of a KV cache as the allocator sees them: dense, expanded, and of latents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from transformers import Cache, DynamicCache, PreTrainedModel

from gpu_kit.budget import Unit
from gpu_kit.report import Row
from gpu_kit.subjects import RATIOS, Subject, tokens
from harness.families.family import Family
from harness.latent.install import install
from harness.latent.size import cache_bytes

BATCH = 8
FORM = "block identity"
Held = dict[tuple[str, str], int]


def units(chosen: Sequence[Subject], device: torch.device, *, prompt: int) -> Iterator[Unit]:
    dense: Held = {}
    for subject in chosen:
        yield Unit(
            "cache",
            partial(subject.dense, device),
            [(f"{subject.name}, dense", partial(_row, subject, "dense", 0.0, prompt, dense))],
        )
        for ratio in RATIOS:
            yield Unit(
                "cache",
                partial(subject.compressed, FORM, ratio, device),
                [
                    (
                        f"{subject.name}, {ratio:.0%}, {kind}",
                        partial(_row, subject, kind, ratio, prompt, dense),
                    )
                    for kind in ("expanded", "latent")  # in place: the second stays
                ],
            )


@torch.inference_mode()
def _row(
    subject: Subject,
    kind: str,
    ratio: float,
    prompt: int,
    dense: Held,
    built: tuple[PreTrainedModel, Family],
) -> Row:
    model, family = built
    if kind == "latent":
        install(model, family)
    decoder: Any = model.get_decoder()
    ids = tokens(model, BATCH, prompt)

    def fill() -> Cache:
        cache = DynamicCache(config=decoder.config)
        decoder(input_ids=ids, past_key_values=cache, use_cache=True)
        return cache

    fill()  # what libraries keep for ever is allocated now
    held, counted = _held(fill, model.device)
    key = subject.name, subject.blocks
    if kind == "dense":
        dense[key] = held
    base = dense.get(key)
    return {
        "model": subject.name,
        "blocks": subject.blocks,
        "removed": ratio,
        "cache": kind,
        "tokens": ids.numel(),
        "allocated bytes": held,
        "counted bytes": counted,
        "allocated / counted": held / counted,
        "allocated / dense": held / base if base else None,
    }


def _held(fill: Callable[[], Cache], device: torch.device) -> tuple[int, int]:
    """Bytes that are allocated for as long as the cache is there, and those of its tensors."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        cache = fill()
        torch.cuda.synchronize(device)
        return torch.cuda.memory_allocated(device) - before, cache_bytes(cache)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        cache = fill()
    events = profiled.profiler.kineto_results.events()
    held = sum(event.nbytes() for event in events if event.name() == "[memory]")
    return held, cache_bytes(cache)
