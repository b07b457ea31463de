"""Streamlined models compute what the stored factors do."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.compression.compressor import compressors
from harness.compression.job import CompressionJob
from harness.compression.pipeline import compress_model
from harness.latent.install import with_latent_cache
from harness.layers.factors import (
    CompressedLinear,
    DenseLinear,
    HeadIdentity,
    InputIdentity,
    LowRank,
    OutputIdentity,
)
from harness.layers.shapes import LayerShape
from harness.models.generation import encode
from harness.models.language_model import share_copy
from harness.plugins.options import configure
from harness.profile.measure import materialised
from harness.profile.skeleton import shapes_of, skeleton
from harness.runtime import materialize
from harness.runtime.materialize import cheapest, compression, decompression
from harness.runtime.memory_layout import set_memory_layout
from harness.runtime.single_gather import STEP, SingleGatherIdentity, with_single_gather
from harness.runtime.streamline import quickest, streamline, with_permuted_rows
from tests.helpers.tiny_models import (
    MODELS,
    random_calibration,
    random_model,
    train_tokenizer,
    wrap,
)
from tests.helpers.tiny_vision_models import PROMPTS, tiny_vision_model

CALIBRATION = random_calibration()
CHOICES = [
    ("svd", {"junction": "left"}),
    ("svd", {"junction": "block-identity"}),
    ("svd", {"junction": "block-identity-output"}),
    ("asvd-rootcov", {"junction": "block-identity", "bias_update": "always"}),
    ("latentllm", {}),
    ("latentllm", {"head_junction": False}),
    ("twinroot", {"ranks": "uniform"}),
]
FORMS_OF = {
    "single gather": {SingleGatherIdentity},
    "plain": {LowRank, SingleGatherIdentity},  # the down projection, which gathers nothing
    "dense": {DenseLinear},
}
TIGHT = {torch.float64: 1e-12, torch.float32: 2e-5}


def compressed(name, method, options, dtype=torch.float64):
    """A copy of its own of what is compressed once for all forms."""
    once = _compressed(name, method, tuple(options.items()), dtype)
    return replace(once, model=copy.deepcopy(once.model))


@cache
def _compressed(name, method, options, dtype):
    subject = wrap(random_model(name, dtype), train_tokenizer())
    plugin = compressors.get(method)
    config = configure(plugin.config, dict(options) | {"propagation": "original"}, method)
    return compress_model(subject, CompressionJob(method, plugin, config, 0.4, CALIBRATION))


@pytest.fixture(params=MODELS)
def name(request):
    return request.param


@pytest.fixture(params=["cheapest", "single gather", "plain", "dense"])
def form(request, monkeypatch):
    """Layers in the form that suits them, or all that can be in the same."""
    gather, saving = {
        "cheapest": (materialize.GATHER, materialize.SAVING),
        "single gather": (0, 9),
        "plain": (10**6, 9),
        "dense": (0, 0),
    }[request.param]
    monkeypatch.setattr(materialize, "GATHER", gather)
    monkeypatch.setattr(materialize, "SAVING", saving)
    return request.param


@torch.no_grad()
@pytest.mark.parametrize("dtype", TIGHT)
@pytest.mark.parametrize(("method", "options"), CHOICES)
def test_logits_stay_what_they_are(name, method, options, form, dtype, tiny):
    small = compressed(name, method, options, dtype).model
    ids = torch.randint(2, 300, (3, 11), generator=torch.Generator().manual_seed(1))
    expected = small(ids).logits
    found = streamline(small, tiny(name).family)(ids).logits
    assert found.dtype == dtype
    scale = float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=TIGHT[dtype] * scale)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_rounds_no_worse(name, form, dtype, one_thread):
    done = compressed(name, "latentllm", {})
    ids = torch.randint(2, 300, (3, 11), generator=torch.Generator().manual_seed(1))
    small = done.model.to(dtype)
    exact = copy.deepcopy(small).double()(ids).logits
    before = (small(ids).logits.double() - exact).norm()
    found = streamline(small, done.family)(ids).logits
    assert found.dtype == dtype
    assert (found.double() - exact).norm() < 1.5 * before


@torch.no_grad()
@pytest.mark.parametrize("batch", [1, 2])
def test_generated_tokens_stay_what_they_are(name, batch, form, tiny):
    small = compressed(name, "latentllm", {}).model
    ids = torch.randint(2, 300, (batch, 7), generator=torch.Generator().manual_seed(2))
    ask = {"max_new_tokens": 9, "do_sample": False, "pad_token_id": 0}
    expected = small.generate(ids, **ask)
    assert torch.equal(streamline(small, tiny(name).family).generate(ids, **ask), expected)


@torch.no_grad()
def test_what_caches_latents_goes_on_doing_so(name, form, one_thread):
    subject = with_latent_cache(compressed(name, "latentllm", {}))
    ids = torch.randint(2, 300, (2, 7), generator=torch.Generator().manual_seed(2))
    ask = {"max_new_tokens": 9, "do_sample": False, "pad_token_id": 0}
    ask["return_dict_in_generate"] = True
    before = subject.model.generate(ids, **ask)
    after = streamline(subject.model, subject.family).generate(ids, **ask)
    assert torch.equal(after.sequences, before.sequences)
    for old, new in zip(before.past_key_values.layers, after.past_key_values.layers, strict=True):
        assert new.keys.shape == old.keys.shape
        assert new.values.shape == old.values.shape


def test_a_model_that_shares_its_tensors_stays_as_it_was(one_thread):
    done = compressed("llama", "latentllm", {"junction": "left"}, torch.float32)
    streamline(share_copy(done.model), done.family)
    assert all(p.is_contiguous() for p in done.model.parameters())


def test_every_layer_takes_the_form_asked_for(name, form, one_thread):
    done = compressed(name, "latentllm", {})
    model = streamline(done.model, done.family)
    found = {
        type(m) for m in model.modules() if isinstance(m, CompressedLinear | SingleGatherIdentity)
    }
    assert form == "cheapest" or found == FORMS_OF[form]


def test_the_down_projection_gathers_nothing(name, one_thread, monkeypatch):
    monkeypatch.setattr(materialize, "GATHER", 0)
    monkeypatch.setattr(materialize, "SAVING", 9)
    done = compressed(name, "svd", {"junction": "block-identity"})
    model = streamline(done.model, done.family)
    gathers = {
        path.rpartition(".")[2]: module.order is not None
        for path, module in model.named_modules()
        if isinstance(module, SingleGatherIdentity)
    }
    assert {role for role, gather in gathers.items() if not gather} <= {"down_proj", "fc2"}
    assert not all(gathers.values())


@torch.no_grad()
def test_a_dense_model_and_dense_layers_are_left_alone(name, tiny):
    subject = tiny(name)
    ids = torch.arange(2, 12)[None]
    expected = subject.model(ids).logits
    assert torch.equal(streamline(subject.model, subject.family)(ids).logits, expected)
    assert not any(isinstance(module, SingleGatherIdentity) for module in subject.model.modules())


FORMS = st.builds(
    lambda d_out, d_in, rank, bias: LayerShape(
        "block-identity", d_out, d_in, min(rank, d_out, d_in), bias
    ),
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(1, 12),
    st.booleans(),
)
HEADS = st.builds(
    lambda heads, size, rest, more, bias: LayerShape(
        "head-identity", heads * size, size + rest + more, size + rest, bias, heads
    ),
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(0, 4),
    st.integers(0, 4),
    st.booleans(),
)


@torch.no_grad()
@given(FORMS | HEADS, st.sampled_from([(), (1,), (5,), (1, 1), (2, 3)]), st.integers(0, 9))
def test_a_layer_stays_what_it_is(form, shape, seed):
    torch.manual_seed(seed)
    factor = form.random().double()
    if factor.bias is not None:
        factor.bias.normal_()
    x = torch.randn(*shape, form.d_in, dtype=torch.float64)
    expected = factor(x) if shape else factor(x[None])[0]
    quick = with_single_gather(factor)
    torch.testing.assert_close(quick(x), expected, rtol=0, atol=1e-12)
    assert len(quick.T) - factor.rank < STEP
    assert len(quick.T) % STEP == 0 or len(quick.T) == form.d_in
    written_out = [
        LowRank(decompression(factor), compression(factor), factor.bias),
        DenseLinear(decompression(factor) @ compression(factor), factor.bias),
    ]
    for other in written_out:
        torch.testing.assert_close(other(x), expected, rtol=0, atol=1e-12)


@torch.no_grad()
def test_an_input_that_comes_in_order_is_not_gathered():
    factor = InputIdentity(torch.ones(3, 2), torch.ones(2, 3), *torch.arange(5).split([2, 3]), None)
    assert with_single_gather(factor).order is None
    assert torch.equal(with_single_gather(factor)(torch.eye(5)), factor(torch.eye(5)))


@torch.no_grad()
@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (LayerShape("block-identity", 576, 576, 260, bias=True), InputIdentity),
        (LayerShape("block-identity", 576, 576, 393, bias=True), DenseLinear),
        (LayerShape("block-identity", 192, 576, 80, bias=True), LowRank),
        (LayerShape("block-identity-output", 576, 576, 260, bias=True), OutputIdentity),
        (LayerShape("block-identity-output", 192, 576, 40, bias=True), LowRank),
        (LayerShape("block-identity-output", 192, 576, 190, bias=True), DenseLinear),
        (LayerShape("head-identity", 192, 576, 143, bias=True, heads=3), HeadIdentity),
        (LayerShape("head-identity", 192, 576, 80, bias=True, heads=3), LowRank),
        (LayerShape("head-identity", 192, 576, 192, bias=True, heads=3), DenseLinear),
        (LayerShape("plain", 576, 576, 200, bias=True), LowRank),
        (LayerShape("plain", 576, 576, 280, bias=True), DenseLinear),
    ],
)
def test_the_shape_says_which_form_takes_the_least_time(form, expected):
    factor = form.random().double()
    factor.bias.normal_()
    chosen = cheapest(factor)
    assert type(chosen) is expected
    x = torch.randn(5, form.d_in, dtype=torch.float64)
    torch.testing.assert_close(chosen(x), factor(x), rtol=0, atol=1e-12)
    torch.testing.assert_close(quickest(factor)(x), factor(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("dtype", "d_in", "columns"),
    [
        (torch.float32, 30, True),
        (torch.float32, 40, False),
        (torch.float64, 30, False),
        (torch.bfloat16, 30, False),
        (torch.float16, 30, False),
    ],
)
def test_only_what_is_read_faster_by_columns_lies_so(dtype, d_in, columns):
    layer = DenseLinear(torch.randn(10, d_in, dtype=dtype), torch.randn(10, dtype=dtype))
    values = layer.weight.clone()
    set_memory_layout(layer)
    assert layer.weight.T.is_contiguous() is columns
    assert torch.equal(layer.weight, values)


@torch.no_grad()
@pytest.mark.parametrize(
    "form", [DenseLinear.form, LowRank.form, InputIdentity.form, OutputIdentity.form]
)
def test_rows_in_another_order_are_the_same_rows(form, one_thread):
    factor = LayerShape(form, 9, 7, 4, bias=True).random().double()
    factor.bias.normal_()
    order = torch.randperm(9)
    x = torch.randn(3, 7, dtype=torch.float64)
    torch.testing.assert_close(with_permuted_rows(factor, order)(x), factor(x)[:, order])


def test_heads_keep_their_order():
    factor = LayerShape(HeadIdentity.form, 6, 8, 5, bias=False, heads=2).random()
    with pytest.raises(TypeError, match="head-identity cannot be exchanged"):
        with_permuted_rows(factor, torch.arange(6))


@torch.no_grad()
@pytest.mark.parametrize("scope", ["language", "vision", "all"])
@pytest.mark.parametrize("kind", ["llava", "qwen2_5_vl"])
def test_a_tower_is_streamlined_too(kind, scope, one_thread):
    subject = tiny_vision_model(kind)
    inputs = encode(subject, [PROMPTS[0], PROMPTS[3]])
    plugin = compressors.get("latentllm")
    logits = []
    for quick in (False, True):
        bare = skeleton(subject.model.config, "float32")
        forms = shapes_of(bare, "latentllm", plugin, plugin.config(), 0.4, scope)
        model = materialised(bare, forms, torch.device("cpu"))
        if quick:
            streamline(model, bare.family)
            assert any(isinstance(module, SingleGatherIdentity) for module in model.modules())
        logits.append(model(**inputs).logits)
    scale = float(logits[0].abs().max())
    torch.testing.assert_close(*logits, rtol=0, atol=TIGHT[torch.float32] * scale)
