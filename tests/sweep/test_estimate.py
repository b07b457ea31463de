"""What ``harness plan`` expects, against models that really are there and run."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from harness.compression.compressor import compressors
from harness.compression.job import CompressionJob
from harness.compression.pipeline import compress_model
from harness.errors import UsageError
from harness.layers.factors import stored_bytes
from harness.layers.macs import macs_per_token
from harness.records.spec import CalibrationSpec, MethodSpec, RunSpec, TaskSpec
from harness.statistics.collect import collect
from harness.support.progress import silent
from harness.sweep.estimate import durations, estimate, kind, subject_in
from tests.helpers import tiny_models, tiny_vision_models
from tests.helpers.board_records import make_record

TEXTS = list(tiny_models.MODELS)
VISION = list(tiny_vision_models.VISION_MODELS)
WINDOW = 32
SAMPLES, LENGTH = 6, 16


@pytest.fixture(scope="module")
def subject(one_thread, tokenizer, tmp_path_factory):
    """``subject(name)``: a float32 model, and a folder with its configuration alone."""

    def make(name):
        if name in VISION:
            found = tiny_vision_models.tiny_vision_model(name, torch.float32)
        else:
            found = tiny_models.wrap(tiny_models.random_model(name, torch.float32), tokenizer)
        folder = tmp_path_factory.mktemp("config")
        found.model.config.save_pretrained(folder)
        return found, folder

    return make


def spec(
    ratio=0.0,
    window=None,
    propagation="sequential",
    dtype="float32",
    scope="language",
    **options,
):
    calibration = CalibrationSpec(text="c4", samples=SAMPLES, length=LENGTH)
    return RunSpec(
        model="some",
        method=MethodSpec(name="svd", options={"propagation": propagation} | options),
        ratio=ratio,
        calibration=calibration if ratio else None,
        task=TaskSpec(name="wikitext2", options={"window": window} if window else {}),
        scope=scope,
        dtype=dtype,
        seed=0,
    )


def linear_weights(module) -> int:
    return sum(one.weight.numel() for one in module.modules() if isinstance(one, nn.Linear))


def block_weights(block) -> int:
    return sum(layer.weight.numel() for layer in block.layers.values())


def layers_of(model):
    """The decoder's blocks by their name in transformers."""
    return next(
        module
        for name, module in model.named_modules()
        if name.endswith("layers") and "vision" not in name and "visual" not in name
    )


@pytest.mark.parametrize("name", TEXTS + VISION)
def test_parameters_are_those_of_the_model_without_reading_a_weight(subject, name):
    found, folder = subject(name)
    priced = subject_in(folder, "float32", "language")
    assert priced.count.parameters == sum(one.numel() for one in found.model.parameters())
    assert priced.count.bytes == stored_bytes(found.model)
    assert priced.count.macs == macs_per_token(found.model)
    blocks = layers_of(found.model)
    assert list(map(block_weights, priced.compressed)) == list(map(linear_weights, blocks))
    assert priced.decoder == linear_weights(blocks)


@pytest.mark.parametrize("name", VISION)
def test_a_scope_says_which_blocks_are_compressed(subject, name):
    _, folder = subject(name)
    priced = {s: subject_in(folder, "float32", s) for s in ("language", "vision", "all")}
    assert len({one.decoder for one in priced.values()}) == 1
    assert len({one.count for one in priced.values()}) == 1
    blocks = {scope: list(map(block_weights, one.compressed)) for scope, one in priced.items()}
    assert blocks["all"] == blocks["vision"] + blocks["language"]
    assert blocks["vision"] != blocks["language"]


def test_a_model_of_text_has_no_vision_tower_to_compress(subject):
    with pytest.raises(UsageError, match="vision"):
        subject_in(subject("opt")[1], "float32", "vision")


@pytest.mark.parametrize("name", TEXTS)
def test_operations_are_those_that_torch_counts(subject, name):
    found, folder = subject(name)
    model = found.model
    model.set_attn_implementation("eager")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(input_ids=torch.full((1, WINDOW), 5), use_cache=False)
    counted = counter.get_total_flops()
    config = model.config
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    channels = config.num_hidden_layers * config.num_attention_heads * size
    # Torch counts every position of the window for every token, a causal one sees (n + 1) / 2.
    unseen = 4 * channels * (WINDOW - (WINDOW + 1) / 2)
    cost = estimate(subject_in(folder, "float32", "language"), spec(window=WINDOW))
    assert cost.flops == counted / WINDOW - unseen
    without = estimate(subject_in(folder, "float32", "language"), spec())
    assert cost.flops - without.flops == 2 * (WINDOW + 1) * channels


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("ratio", [0.25, 0.5])
def test_what_remains_is_what_a_compression_leaves_but_for_rounded_ranks(subject, name, ratio):
    found, folder = subject(name)
    method = compressors.get("svd")
    calibration = tiny_models.random_calibration(SAMPLES, LENGTH)
    small = compress_model(
        found, CompressionJob("svd", method, method.config(), ratio, calibration, batch_size=2)
    ).compression
    cost = estimate(subject_in(folder, "float32", "language"), spec(ratio))
    removed = cost.parameters - cost.remaining
    assert removed == pytest.approx(ratio * linear_weights(layers_of(found.model)), abs=1)
    # A rank less takes one row and one column from a layer, at most.
    rounding = sum(sum(one.weight.shape) for one in layers_of(found.model).modules()
                   if isinstance(one, nn.Linear))  # fmt: skip
    biases = sum(one.numel() for key, one in found.model.named_parameters() if "bias" in key)
    assert abs(cost.remaining - small.parameters) <= rounding + biases


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_memory_is_that_of_weights_factors_and_all_statistics(subject, name, dtype):
    found, folder = subject(name)
    model = found.model.to(getattr(torch, dtype))
    collected = collect(
        model,
        found.family.blocks(model, "language"),
        tiny_models.random_calibration(SAMPLES, LENGTH),
        batch_size=2,
        keep_mlp_tokens=True,
        gradients=True,
        track=silent,
    )

    def held(moments):
        return sum(
            part.nbytes
            for one in moments.held.values()
            for part in (one.second, one.mean, one.magnitude)
        )

    sizes = [held(block.moments) + block.mlp_tokens.nbytes for block in collected]
    gradients = sum(held(block.backward.gradients) for block in collected)
    weights = sum(one.nbytes for one in model.parameters())
    priced = subject_in(folder, dtype, "language")
    factors = (linear_weights(layers_of(model)) // 2) * model.dtype.itemsize
    assert estimate(priced, spec(dtype=dtype)).memory == weights
    together = estimate(priced, spec(0.5, propagation="original", dtype=dtype))
    assert together.memory == weights + factors + sum(sizes)
    graded = estimate(priced, spec(0.5, ranks="fisher", dtype=dtype))
    assert graded.memory == together.memory + gradients
    one_by_one = estimate(priced, spec(0.5, dtype=dtype))
    assert one_by_one.memory == weights + factors + max(sizes)


def test_times_are_of_finished_cells_of_the_same_kind_or_unknown():
    record = make_record()
    done = [
        record.model_copy(update={"timings": {"load": 1.0, "evaluate": seconds}})
        for seconds in (2.0, 4.0)
    ]
    failed = record.model_copy(update={"status": "failed", "timings": {"load": 900.0}})
    assert durations([]) == {}
    assert durations([failed]) == {}
    assert durations([*done, failed]) == {kind(record.spec): 4.0}
    for changes in ({"model": "another"}, {"dtype": "float64"}):
        other = record.spec.model_copy(update=changes)
        assert kind(other) not in durations(done)
