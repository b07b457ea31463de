"""Tokens a second of prefill and decode, dense and compressed, eager and compiled.

Prefill is a prompt with the logits of its last token, decode adds tokens one by one behind it. Of a
vision-language model the decoder runs, on text.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel, StaticCache

from gpu_kit.budget import Unit
from gpu_kit.report import Row
from gpu_kit.subjects import FORMS, RATIOS, Subject, tokens

BATCHES = (1, 8, 64)
DENSE = "dense"
COMPILED_RATIOS = (0.4, 0.8, 0.2, 0.6)
"""In the order in which time may run out."""


@dataclass
class Workload:
    """``prompt`` tokens, then ``runs + 1`` times ``steps``, of which the first only warms up.

    ``dense`` remembers the dense model's figures, which all others are held against.
    """

    device: torch.device
    prompt: int
    steps: int
    runs: int
    backend: str
    compiled_blocks: int
    dense: dict[tuple[str, str, str, int], tuple[float, float]] = field(default_factory=dict)

    @property
    def length(self) -> int:
        return self.prompt + self.steps * (self.runs + 1)


Run = Callable[..., Tensor]


def eager_units(chosen: Sequence[Subject], work: Workload) -> Iterator[Unit]:
    """Whole models: all of the first form before any of the next."""
    for subject in chosen:
        yield _unit(subject, DENSE, 0.0, work, ("eager",))
    for form in FORMS:
        for subject in chosen:
            for ratio in RATIOS:
                yield _unit(subject, form, ratio, work, ("eager",))


def compiled_units(chosen: Sequence[Subject], work: Workload) -> Iterator[Unit]:
    """A few blocks without the output head, which would outweigh them; eager beside compiled."""
    cut = [subject.cut(work.compiled_blocks) for subject in chosen]
    form = next(iter(FORMS))
    for ratio in (0.0, *COMPILED_RATIOS):
        for subject in cut:
            name = form if ratio else DENSE
            yield _unit(subject, name, ratio, work, ("eager", "compiled"))


def _unit(
    subject: Subject, form: str, ratio: float, work: Workload, modes: tuple[str, ...]
) -> Unit:
    def prepare() -> PreTrainedModel:
        torch.compiler.reset()
        if form == DENSE:
            return subject.dense(work.device)[0]
        return subject.compressed(form, ratio, work.device)[0]

    title = f"{subject.name}, {subject.blocks} blocks, {form}" + f" {ratio:.0%}" * bool(ratio)
    headed = len(modes) == 1
    cells = [
        (
            f"{title}, batch {batch}, {mode}",
            partial(_row, subject, form, ratio, work, mode, batch, headed),
        )
        for mode in modes
        for batch in BATCHES
    ]
    return Unit(f"{modes} {subject.name}", prepare, cells)


@torch.inference_mode()
def _row(
    subject: Subject,
    form: str,
    ratio: float,
    work: Workload,
    mode: str,
    batch: int,
    headed: bool,
    model: PreTrainedModel,
) -> Row:
    decoder: Any = model.get_decoder()
    run = torch.compile(decoder, backend=work.backend) if mode == "compiled" else decoder
    head = model.get_output_embeddings() if headed else None
    ids = tokens(model, batch, work.length)
    begun = time.monotonic()
    prefill = _prefill(run, head, ids[:, : work.prompt], work)
    decode = _decode(run, decoder, head, ids, work)
    base = (subject.name, subject.blocks, mode, batch)
    if form == DENSE:
        work.dense[base] = prefill, decode
    dense = work.dense.get(base)
    return {
        "model": subject.name,
        "blocks": subject.blocks,
        "head": "yes" if headed else "no",
        "form": form,
        "removed": ratio,
        "batch": batch,
        "mode": mode,
        "prefill tokens/s": prefill,
        "decode tokens/s": decode,
        "prefill / dense": prefill / dense[0] if dense else None,
        "decode / dense": decode / dense[1] if dense else None,
        "took s": time.monotonic() - begun,
    }


def _prefill(run: Run, head: Any, ids: Tensor, work: Workload) -> float:
    def once() -> None:
        _step(run, head, ids, use_cache=False)

    return ids.numel() / _median(once, work)


def _decode(run: Run, decoder: Run, head: Any, ids: Tensor, work: Workload) -> float:
    config: Any = decoder.config
    cache: Any = (
        DynamicCache(config=config)
        if run is decoder
        else StaticCache(config=config, max_cache_len=work.length)
    )
    _step(decoder, head, ids[:, : work.prompt], past_key_values=cache, use_cache=True)
    at = iter(range(work.prompt, work.length))

    def several() -> None:
        for _ in range(work.steps):
            i = next(at)
            _step(run, head, ids[:, i : i + 1], past_key_values=cache, use_cache=True)

    return len(ids) * work.steps / _median(several, work)


def _step(run: Run, head: Any, ids: Tensor, **more: Any) -> None:
    hidden: Any = run(input_ids=ids, **more)
    if head is not None:
        head(hidden.last_hidden_state[:, -1:])


def _median(action: Callable[[], None], work: Workload) -> float:
    action()
    return statistics.median(_seconds(action, work.device) for _ in range(work.runs))


def _seconds(action: Callable[[], None], device: torch.device) -> float:
    start = now(device)
    action()
    return now(device) - start


def now(device: torch.device) -> float:
    """Seconds, once the device has done what it was asked."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
