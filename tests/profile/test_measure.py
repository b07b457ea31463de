"""A profiled model really runs, in the form that was counted."""

from __future__ import annotations

import math

import pytest
import torch
from transformers import RobertaConfig, ViTConfig

from harness.compression.compressor import compressors
from harness.errors import UsageError
from harness.layers.factors import HeadIdentity, InputIdentity, stored_bytes
from harness.profile.count import Workload, count
from harness.profile.known import configuration
from harness.profile.measure import STEPS, Setting, fits, materialised, measure
from harness.profile.skeleton import shapes_of, skeleton
from tests.helpers.tiny_models import opt

CPU = torch.device("cpu")
ONCE = Setting("cpu", runs=1)
QUICK = Setting("cpu", runs=1, streamlined=True)
WORKLOAD = Workload(2, STEPS + 4)
SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}


def latent(bare):
    plugin = compressors.get("latentllm")
    return shapes_of(bare, "latentllm", plugin, plugin.config(), 0.4, "language")


@pytest.fixture(params=["opt-tiny", "qwen3-tiny", "llava-tiny", "qwen2.5-vl-tiny"])
def config(request, one_thread):
    return configuration(f"builtin:{request.param}")


@torch.no_grad()
def test_what_runs_is_what_was_counted(config):
    bare = skeleton(config, "float32")
    shapes = latent(bare)
    counted = count(bare, shapes, WORKLOAD)
    model = materialised(bare, shapes, CPU)
    assert sum(p.numel() for p in model.parameters()) == counted.parameters
    assert stored_bytes(model) == counted.bytes
    assert any(isinstance(module, InputIdentity) for module in model.modules())
    assert torch.isfinite(model(torch.arange(3, 19)[None]).logits).all()


@torch.no_grad()
def test_a_shared_embedding_stays_shared_and_heads_get_their_form(one_thread):
    bare = skeleton(opt().config, "float32")
    model = materialised(bare, latent(bare), CPU)
    assert model.lm_head.weight is model.get_input_embeddings().weight
    assert sum(isinstance(module, HeadIdentity) for module in model.modules()) == 4


def test_every_kind_of_number_is_measured(config):
    seen = measure(config, {}, WORKLOAD, "float32", ONCE)
    assert all(math.isfinite(value) and value > 0 for value in (seen.prefill, seen.decode))
    assert seen.peak_bytes > count(skeleton(config, "float32"), {}, WORKLOAD).bytes


def test_a_streamlined_model_is_measured_too(one_thread):
    bare = skeleton(opt().config, "float32")
    assert measure(opt().config, latent(bare), WORKLOAD, "float32", QUICK).prefill > 0


def test_an_encoder_does_not_decode(one_thread):
    config = RobertaConfig(**SMALL, vocab_size=99, max_position_embeddings=64)
    assert measure(config, {}, WORKLOAD, "float32", ONCE).decode is None
    counted = count(skeleton(config, "float32"), {}, WORKLOAD)
    assert counted.cache_bytes == counted.latent_cache_bytes == 0


def test_what_reads_no_tokens_cannot_be_measured():
    with pytest.raises(UsageError, match="a vit model does not read tokens"):
        measure(ViTConfig(**SMALL), {}, WORKLOAD, "float32", ONCE)


def test_too_few_tokens_to_decode_are_an_error(config):
    with pytest.raises(UsageError, match=f"--sequence must be above {STEPS}"):
        measure(config, {}, Workload(1, STEPS), "float32", ONCE)


def test_a_model_beyond_the_memory_is_not_tried():
    bare = skeleton(configuration("facebook/opt-175b"), "float32")
    assert not fits(count(bare, {}, WORKLOAD), bare, WORKLOAD, "cpu")
