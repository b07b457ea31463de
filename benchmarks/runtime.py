"""Tokens a second of compressed models against the dense one, over ratios.

Weights are random, of the shapes of SmolLM2-135M (all of it) or of OPT-1.3B (some blocks, without
embedding and output head, which would outweigh so few). Each variant runs its factors as they are
stored and streamlined (``harness.runtime``), and all take turns within a round, so that what slows
the machine slows them alike; a figure is the median over rounds of a variant's speed relative to
the dense model's in the same round. The first row is the dense model with its weights in the order
in memory that streamlined ones have: what that alone brings. Prefill is one forward
pass that gives the logits of the last token, as generation starts; decode adds tokens one by one
behind a prompt.

Time is that of the processor, on one thread: on a machine that others use too, the clock on the
wall measures them. ``--wall`` takes the wall's all the same.

    python benchmarks/runtime.py --shape smollm2-135m --ratios 0.1 0.3 0.5 0.8
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PretrainedConfig, PreTrainedModel

from harness.compression.compressor import compressors
from harness.plugins.options import configure, label
from harness.profile.known import configuration
from harness.profile.measure import materialised
from harness.profile.skeleton import shapes_of, skeleton
from harness.runtime.memory_layout import set_memory_layout
from harness.runtime.streamline import streamline
from harness.support.markdown import markdown_table

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "left": ("asvd-rootcov", {"junction": "left"}),
    "block-identity": ("asvd-rootcov", {"junction": "block-identity"}),
    "latentllm": ("latentllm", {}),
}
CPU = torch.device("cpu")
HEADINGS = ("ratio", "form", "prefill stored", "streamlined", "decode stored", "streamlined")
Model = Callable[..., Any]


def shape(name: str, blocks: int) -> tuple[PretrainedConfig, bool]:
    """The configuration, and whether the output head is measured too."""
    if name == "smollm2-135m":
        return configuration(name), True
    config = configuration(f"facebook/{name}")
    config.num_hidden_layers = blocks
    return config, False


def build(
    config: PretrainedConfig, method: str | None, ratio: float, *, quick: bool
) -> PreTrainedModel:
    subject = skeleton(config, "float32")
    shapes = {}
    if method is not None:
        name, options = METHODS[method]
        plugin = compressors.get(name)
        options = configure(plugin.config, options, name)
        shapes = shapes_of(subject, name, plugin, options, ratio, "language")
    model = materialised(subject, shapes, CPU)
    return streamline(model, subject.family) if quick else model


def laid_out(model: PreTrainedModel) -> PreTrainedModel:
    """``model``, whose linear layers but the output head are laid out as streamlined ones are."""
    for layer in model.base_model.modules():
        if isinstance(layer, nn.Linear):
            set_memory_layout(layer)
    return model


def prefill(model: PreTrainedModel, whole: bool, ids: Tensor) -> None:
    if whole:
        model(ids, use_cache=False, logits_to_keep=1)
    else:
        model.base_model(ids, use_cache=False)


def decode(
    model: PreTrainedModel, whole: bool, ids: Tensor, steps: int, clock: Callable[[], float]
) -> float:
    run: Model = model if whole else model.base_model
    cache = DynamicCache(config=model.config)
    run(ids[:, :-steps], past_key_values=cache, use_cache=True)
    start = clock()
    for at in range(ids.shape[1] - steps, ids.shape[1]):
        run(ids[:, at : at + 1], past_key_values=cache, use_cache=True)
    return clock() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", default="smollm2-135m", help="or opt-1.3b, opt-125m ...")
    parser.add_argument("--blocks", type=int, default=2, help="of an OPT shape")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["left", "latentllm"])
    parser.add_argument("--ratios", nargs="+", type=float, default=[i / 10 for i in range(1, 9)])
    parser.add_argument("--prompt", type=int, default=256, help="tokens of the prefill")
    parser.add_argument("--steps", type=int, default=16, help="tokens decoded behind 64 others")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--wall", action="store_true", help="time on the wall, not the processor's")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = time.perf_counter if options.wall else time.process_time
    config, whole = shape(options.shape, options.blocks)
    ids = torch.randint(3, 1000, (1, options.prompt), generator=torch.Generator().manual_seed(0))
    short = ids[:, : 64 + options.steps]
    print(f"{options.shape}, {options.threads} thread(s), {options.rounds} rounds, float32")
    dense = build(config, None, 0.0, quick=False)
    taken: dict[tuple[str, str], list[float]] = {}

    def race(**models: PreTrainedModel) -> None:
        taken.clear()
        with torch.inference_mode():
            for _ in range(options.rounds + 1):
                for name, model in {"dense": dense, **models}.items():
                    start = clock()
                    prefill(model, whole, ids)
                    taken.setdefault((name, "prefill"), []).append(clock() - start)
                    took = decode(model, whole, short, options.steps, clock)
                    taken.setdefault((name, "decode"), []).append(took)

    def against_dense(name: str, kind: str) -> str:
        pairs = zip(taken["dense", kind][1:], taken[name, kind][1:], strict=True)
        return f"{statistics.median(a / b for a, b in pairs):.2f}"

    def rows() -> Iterator[list[str]]:
        race(laid=laid_out(build(config, None, 0.0, quick=False)))
        prefilled, decoded = (against_dense("laid", kind) for kind in ("prefill", "decode"))
        yield ["0", "dense, laid out", "", prefilled, "", decoded]
        for ratio in options.ratios:
            for method in options.methods:
                race(
                    stored=build(config, method, ratio, quick=False),
                    streamlined=build(config, method, ratio, quick=True),
                )
                cells = [
                    against_dense(name, kind)
                    for kind in ("prefill", "decode")
                    for name in ("stored", "streamlined")
                ]
                name, changes = METHODS[method]
                title = label(name, configure(compressors.get(name).config, changes, name))
                yield [f"{ratio:g}", title, *cells]

    for line in markdown_table(HEADINGS, "|--:|---|--:|--:|--:|--:|", rows()):
        print(line, flush=True)
    for kind, tokens in (("prefill", options.prompt), ("decode", options.steps)):
        print(f"dense {kind}: {tokens / statistics.median(taken['dense', kind]):.1f} tokens/s")


if __name__ == "__main__":
    main()
