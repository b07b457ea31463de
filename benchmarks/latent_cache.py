"""Speed and KV bytes of a compressed model with a latent and an expanded cache, and of the dense.

The shapes are those of OPT-1.3B (no rotary embedding: attention runs on the latents) or of
SmolLM2-135M (rotary: keys are expanded from the latents at every step), weights and factors are
random, ranks those that block identity has at each ratio. Every round runs all models in turn. On
a CPU time is the processor's, which other work on the machine disturbs less than the wall's. The
last two columns are the peak memory of one forward pass behind the prompt, weights and the cache
before it not counted: of one token, and of 512.

    python benchmarks/latent_cache.py --shape opt-1.3b --layers 4 --prompt 1024 --batch 4
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from transformers import (
    DynamicCache,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedModel,
)

from harness.algebra.ranks import rank_for
from harness.families.family import family_of
from harness.latent.install import install
from harness.latent.size import cache_bytes
from harness.layers.factors import InputIdentity
from harness.models.language_model import share_copy

VOCABULARY = 2048


def opt_1_3b(layers: int) -> PreTrainedModel:
    return OPTForCausalLM(
        OPTConfig(
            vocab_size=VOCABULARY,
            hidden_size=2048,
            word_embed_proj_dim=2048,
            ffn_dim=8192,
            num_attention_heads=32,
            num_hidden_layers=layers,
            max_position_embeddings=8192,
        )
    )


def smollm2(layers: int) -> PreTrainedModel:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=576,
            intermediate_size=1536,
            num_attention_heads=9,
            num_key_value_heads=3,
            num_hidden_layers=layers,
            max_position_embeddings=8192,
        )
    )


SHAPES = {"opt-1.3b": opt_1_3b, "smollm2-135m": smollm2}


def random_factor(linear: nn.Linear, ratio: float) -> InputIdentity:
    d_out, d_in = linear.weight.shape
    rank = rank_for((d_out, d_in), 1 - ratio, "block-identity")
    columns = torch.randperm(d_in, device=linear.weight.device)
    bias = None if linear.bias is None else linear.bias.detach()
    return InputIdentity(
        linear.weight.detach()[:, :rank],
        linear.weight.detach().new_empty(rank, d_in - rank).normal_(std=0.02),
        columns[:rank],
        columns[rank:],
        bias,
    )


def compressed(dense: PreTrainedModel, ratio: float) -> PreTrainedModel:
    model = share_copy(dense)
    for block in family_of(model.config).blocks(model):
        block.install(
            {
                role: random_factor(block.module.get_submodule(path), ratio)
                for role, path in block.stack.layers.items()
            }
        )
    return model


def with_latents(model: PreTrainedModel) -> PreTrainedModel:
    latent = share_copy(model)
    install(latent, family_of(latent.config))
    return latent


@torch.no_grad()
def run(model: PreTrainedModel, ids: torch.Tensor, new: int) -> tuple[float, float, int]:
    """Tokens per second of prefill and of decode, and the bytes of the cache at the end."""

    def now() -> float:
        if ids.is_cuda:
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time()

    cache = DynamicCache(config=model.config)
    start = now()
    model(input_ids=ids, past_key_values=cache, logits_to_keep=1)
    filled = now()
    for _ in range(new):
        model(input_ids=ids[:, :1], past_key_values=cache, logits_to_keep=1)
    end = now()
    rows, prompt = ids.shape
    return rows * prompt / (filled - start), rows * new / (end - filled), cache_bytes(cache)


@torch.no_grad()
def peaks(model: PreTrainedModel, ids: torch.Tensor) -> list[float]:
    """MiB that one more token and that 512 take at their peak, for each row of ``ids``."""
    cache = DynamicCache(config=model.config)
    model(input_ids=ids, past_key_values=cache, logits_to_keep=1)
    return [
        peak(partial(model, ids.new_zeros(len(ids), more), past_key_values=cache, logits_to_keep=1))
        for more in (1, 512)
    ]


def peak(action: Callable[[], object]) -> float:
    """MiB allocated at the most while ``action`` runs."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        action()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        action()
    events = [e for e in profiled.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = itertools.accumulate(e.nbytes() for e in sorted(events, key=lambda e: e.start_ns()))
    return max(held) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="opt-1.3b")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--ratios", type=float, nargs="+", default=[0.2, 0.4, 0.6, 0.8])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--new", type=int, default=16, help="decoded tokens")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="float32")
    chosen = parser.parse_args()
    dtype = getattr(torch, chosen.dtype)
    place = torch.cuda.get_device_name() if chosen.device.startswith("cuda") else "CPU"
    print(
        f"{chosen.shape}, {chosen.layers} layers, {chosen.dtype}, batch {chosen.batch}, "
        f"{chosen.prompt} + {chosen.new} tokens, {place}, {torch.get_num_threads()} threads, "
        f"medians of {chosen.rounds} rounds"
    )
    torch.manual_seed(0)
    dense = SHAPES[chosen.shape](chosen.layers).to(chosen.device, dtype).eval()
    models = {"dense": dense}
    for ratio in chosen.ratios:
        models[f"{ratio:.0%} expanded"] = small = compressed(dense, ratio)
        models[f"{ratio:.0%} latent"] = with_latents(small)
    ids = torch.randint(2, VOCABULARY, (chosen.batch, chosen.prompt), device=chosen.device)
    runs = {name: partial(run, model, ids, chosen.new) for name, model in models.items()}
    for once in runs.values():
        once()
    results: dict[str, list[tuple[float, float, int]]] = {name: [] for name in runs}
    for _ in range(chosen.rounds):
        for name, once in runs.items():
            results[name].append(once())
    medians = {
        name: [statistics.median(column) for column in zip(*rows, strict=True)]
        for name, rows in results.items()
    }
    print(
        f"{'':14s} {'prefill':>9s} {'ratio':>6s} {'decode':>9s} {'ratio':>6s} {'KV MiB':>8s} ratio"
        f" {'+1 MiB':>7s} {'+512':>7s}"
    )
    for name, row in medians.items():
        prefill, decode, held = row
        one, many = peaks(models[name], ids)
        by = [value / base for value, base in zip(row, medians["dense"], strict=True)]
        print(
            f"{name:14s} {prefill:9.0f} {by[0]:6.2f} {decode:9.1f} {by[1]:6.2f} "
            f"{held / 2**20:8.2f} {by[2]:.3f} {one:7.1f} {many:7.1f}"
        )


if __name__ == "__main__":
    main()
