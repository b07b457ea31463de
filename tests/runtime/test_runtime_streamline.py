"""Streamlined models compute what the stored factors do."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import MODELS, random_calibration
from tiny_vision_models import PROMPTS, tiny_vision_model

from harness.chat import encode
from harness.compression import compress_model
from harness.compressor import compressors
from harness.factors import Dense, HeadIdentity, InputIdentity, LowRank, OutputIdentity
from harness.forms import Form
from harness.options import configure
from harness.profile.measure import materialised
from harness.profile.skeleton import forms_of, skeleton
from harness.runtime.ordered import OrderedIdentity, ordered
from harness.runtime.streamline import in_rows, streamline

CALIBRATION = random_calibration()
CHOICES = [
    ("svd", {"junction": "left"}),
    ("svd", {"junction": "block-identity"}),
    ("svd", {"junction": "block-identity-output"}),
    ("asvd-rootcov", {"junction": "block-identity", "bias_update": "always"}),
    ("latentllm", {}),
    ("latentllm", {"head_junction": False}),
]
TIGHT = {torch.float64: 1e-12, torch.float32: 2e-5}


def compressed(subject, method, options):
    plugin = compressors.get(method)
    config = configure(plugin.config, {**options, "propagation": "original"}, method)
    return compress_model(subject, method, plugin, config, 0.4, CALIBRATION)


@pytest.fixture(params=MODELS)
def name(request):
    return request.param


@torch.no_grad()
@pytest.mark.parametrize("dtype", TIGHT)
@pytest.mark.parametrize(("method", "options"), CHOICES)
def test_logits_stay_what_they_are(name, method, options, dtype, tiny):
    small = compressed(tiny(name, dtype), method, options).model
    ids = torch.randint(2, 300, (3, 11), generator=torch.Generator().manual_seed(1))
    expected = small(ids).logits
    found = streamline(small, tiny(name).family)(ids).logits
    assert found.dtype == dtype
    scale = float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=TIGHT[dtype] * scale)


@torch.no_grad()
@pytest.mark.parametrize("batch", [1, 2])
def test_generated_tokens_stay_what_they_are(name, batch, tiny):
    small = compressed(tiny(name), "latentllm", {}).model
    ids = torch.randint(2, 300, (batch, 7), generator=torch.Generator().manual_seed(2))
    ask = {"max_new_tokens": 9, "do_sample": False, "pad_token_id": 0}
    expected = small.generate(ids, **ask)
    assert torch.equal(streamline(small, tiny(name).family).generate(ids, **ask), expected)


@pytest.mark.parametrize(("method", "options"), CHOICES)
def test_no_more_is_stored_but_the_identity_blocks_of_heads(name, method, options, tiny):
    done = compressed(tiny(name), method, options)
    heads = [m for m in done.model.modules() if isinstance(m, HeadIdentity)]
    more = sum(m.head_kept.numel() * m.head_kept.shape[1] for m in heads)
    model = streamline(done.model, done.family)
    assert sum(p.numel() for p in model.parameters()) == done.compression.parameters + more


def test_the_down_projection_gathers_nothing(name, tiny):
    done = compressed(tiny(name), "svd", {"junction": "block-identity"})
    model = streamline(done.model, done.family)
    gathers = {
        path.rpartition(".")[2]: module.order is not None
        for path, module in model.named_modules()
        if isinstance(module, OrderedIdentity)
    }
    assert {role for role, gather in gathers.items() if not gather} <= {"down_proj", "fc2"}
    assert not all(gathers.values())


@torch.no_grad()
def test_a_dense_model_and_dense_layers_are_left_alone(name, tiny):
    subject = tiny(name)
    ids = torch.arange(2, 12)[None]
    expected = subject.model(ids).logits
    assert torch.equal(streamline(subject.model, subject.family)(ids).logits, expected)
    assert not any(isinstance(module, OrderedIdentity) for module in subject.model.modules())


FORMS = st.builds(
    lambda d_out, d_in, rank, bias: Form(
        "block-identity", d_out, d_in, min(rank, d_out, d_in), bias
    ),
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(1, 12),
    st.booleans(),
)
HEADS = st.builds(
    lambda heads, size, rest, more, bias: Form(
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
    torch.testing.assert_close(ordered(factor)(x), expected, rtol=0, atol=1e-12)
    x_ordered = x[..., torch.cat([factor.kept, factor.rest]).long()]
    torch.testing.assert_close(
        ordered(factor, in_order=True)(x_ordered), expected, rtol=0, atol=1e-12
    )


@torch.no_grad()
@pytest.mark.parametrize(
    "form", [Dense.form, LowRank.form, InputIdentity.form, OutputIdentity.form]
)
def test_rows_in_another_order_are_the_same_rows(form, one_thread):
    factor = Form(form, 9, 7, 4, bias=True).random().double()
    factor.bias.normal_()
    order = torch.randperm(9)
    x = torch.randn(3, 7, dtype=torch.float64)
    torch.testing.assert_close(in_rows(factor, order)(x), factor(x)[:, order])


def test_heads_keep_their_order():
    factor = Form(HeadIdentity.form, 6, 8, 5, bias=False, heads=2).random()
    with pytest.raises(TypeError, match="head-identity cannot be exchanged"):
        in_rows(factor, torch.arange(6))


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
        forms = forms_of(bare, "latentllm", plugin, plugin.config(), 0.4, scope)
        model = materialised(bare, forms, torch.device("cpu"))
        if quick:
            streamline(model, bare.family)
            assert any(isinstance(module, OrderedIdentity) for module in model.modules())
        logits.append(model(**inputs).logits)
    scale = float(logits[0].abs().max())
    torch.testing.assert_close(*logits, rtol=0, atol=TIGHT[torch.float32] * scale)
