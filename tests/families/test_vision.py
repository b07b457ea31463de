"""Vision-language families: layout, exactness at ratio 0, what calibration sees."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from harness.calibration.prompts import PromptCalibration, draw_prompts
from harness.compression.compressor import compressors
from harness.compression.job import CompressionJob
from harness.compression.pipeline import compress_model
from harness.errors import NonFiniteError, UsageError
from harness.layers.factors import CompressedLinear
from harness.layers.fused import FusedFactors
from harness.layers.roles import SITE_OF_ROLE
from harness.models.generation import answer, encode
from harness.models.prompt import PromptSource
from harness.plugins.options import configure
from harness.records.spec import CalibrationSpec
from harness.statistics.block_stream import BlockStream
from harness.statistics.collect import collect
from harness.support.progress import silent
from tests.helpers.tiny_vision_models import PROMPTS, VISION_MODELS, noise, tiny_vision_model

SCOPES = ("language", "vision", "all")
OUTSIDE = ("lm_head", "multi_modal_projector", "visual.merger")
SOURCE = PromptSource("questions", PROMPTS, "f" * 64)
SPEC = CalibrationSpec(text="questions", samples=5, length=None, sampling="prompts")


@pytest.fixture(params=VISION_MODELS)
def subject(request, one_thread):
    return tiny_vision_model(request.param)


def calibration_of(subject) -> PromptCalibration:
    return draw_prompts(SOURCE, subject, SPEC)


def small(subject, method, ratio, scope="language", **options):
    compressor = compressors.get(method)
    config = configure(compressor.config, options, method)
    return compress_model(
        subject,
        CompressionJob(
            method, compressor, config, ratio, calibration_of(subject), scope=scope, batch_size=2
        ),
    )


@torch.no_grad()
def logits(subject, prompts):
    return subject.model(**encode(subject, prompts)).logits


def test_every_linear_layer_of_both_stacks_is_found(subject):
    found = {
        f"{block.name}.{block.stack.path(role)}"
        for block in subject.family.blocks(subject.model, "all")
        for role in block.stack.layers
    }
    linear = {
        path for path, module in subject.model.named_modules() if isinstance(module, nn.Linear)
    }
    assert {path for path in linear if not any(part in path for part in OUTSIDE)} == found


def test_scopes_part_the_blocks(subject):
    model, family = subject.model, subject.family
    names = {scope: [b.name for b in family.blocks(model, scope)] for scope in SCOPES}
    assert names["all"] == names["vision"] + names["language"]
    assert [len(names[scope]) for scope in SCOPES] == [2, 3, 5]


def test_fused_projections_are_read_in_the_order_the_model_reads_them():
    subject = tiny_vision_model("qwen2_5_vl")
    block = subject.family.blocks(subject.model, "vision")[0]
    weights = block.weights(subject.model)
    x = torch.randn(7, 24, dtype=torch.float64)
    whole = block.module.attn.qkv(x)
    # As in Qwen2.5-VL's attention: [tokens, 3, heads, head size].
    for role, part in zip(("query", "key", "value"), whole.view(7, 3, 24).unbind(1), strict=True):
        layer = weights.layers[role]
        torch.testing.assert_close(x @ layer.weight.T + layer.bias, part)
        assert (
            layer.weight.untyped_storage().data_ptr()
            == block.module.attn.qkv.weight.untyped_storage().data_ptr()
        )


def test_geometry_of_the_towers():
    for name, rotary in (("llava", None), ("qwen2_vl", (2, 4)), ("qwen2_5_vl", (2, 4))):
        subject = tiny_vision_model(name)
        tower, decoder = (
            subject.family.blocks(subject.model, scope)[0].weights(subject.model).attention
            for scope in ("vision", "language")
        )
        assert (tower.heads, tower.kv_heads, tower.head_size) == (3, 3, 8)
        assert (decoder.heads, decoder.kv_heads, decoder.head_size) == (4, 2, 8)
        assert tower.rotary is None if rotary is None else tower.rotary.shape == rotary
        assert decoder.rotary.shape == (4,)


def test_planar_frequencies_turn_as_the_tower_turns():
    subject = tiny_vision_model("qwen2_5_vl")
    frequencies = (
        subject.family.blocks(subject.model, "vision")[0].weights(subject.model).attention.rotary
    )
    position = torch.tensor([3, 5])
    rotary = subject.model.model.visual.rotary_pos_emb
    cos, sin = rotary(torch.zeros(1), position[:, None].T)
    angles = position.to(frequencies) @ frequencies
    torch.testing.assert_close(torch.cat([angles.cos()] * 2), cos[0].to(angles))
    torch.testing.assert_close(torch.cat([angles.sin()] * 2), sin[0].to(angles))


@pytest.mark.slow  # three methods on both towers of four families
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("svd", {}),
        ("asvd-rootcov", {"junction": "block-identity", "propagation": "original"}),
        ("latentllm", {}),
    ],
)
def test_nothing_removed_changes_nothing(subject, scope, method, options):
    """With one image, several and none, in one batch and alone."""
    same = small(subject, method, 0.0, scope, **options)
    for prompts in (PROMPTS, PROMPTS[:1], PROMPTS[1:2], PROMPTS[2:3]):
        expected, found = logits(subject, prompts), logits(same, prompts)
        # Rotary embeddings and norms of transformers compute in float32.
        assert (found - expected).norm() <= 1e-5 * expected.norm()


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("method", ["svd", "asvd-rootcov", "latentllm"])
def test_only_the_scope_is_compressed(subject, scope, method):
    compressed = small(subject, method, 0.4, scope)
    inside = tuple(block.name for block in subject.family.blocks(subject.model, scope))
    factors = [n for n, m in compressed.model.named_modules() if isinstance(m, CompressedLinear)]
    assert factors
    assert all(path.startswith(inside) for path in factors)
    assert {layer.name for layer in compressed.compression.layers} == set(factors)
    assert 0.4 <= compressed.compression.ratio_layers < 0.65
    assert torch.isfinite(logits(compressed, PROMPTS)).all()
    assert not torch.equal(logits(compressed, PROMPTS), logits(subject, PROMPTS))
    untouched = dict(compressed.model.named_parameters())
    for path, parameter in subject.model.named_parameters():
        if not path.startswith(inside):
            assert untouched[path] is parameter


def test_fused_projections_stay_one_module_that_holds_three():
    compressed = small(tiny_vision_model("qwen2_vl"), "asvd-rootcov", 0.3, "vision")
    fused = compressed.model.model.visual.blocks[1].attn.qkv
    assert isinstance(fused, FusedFactors)
    assert list(fused) == ["query", "key", "value"]
    x = torch.randn(2, 5, 24, dtype=torch.float64)
    expected = torch.cat([factor(x) for factor in fused.values()], -1)
    assert torch.equal(fused(x), expected)


@torch.no_grad()
def test_moments_are_over_image_tokens_and_text_but_no_padding(subject):
    blocks = subject.family.blocks(subject.model, "all")
    calibration = calibration_of(subject)
    found = collect(
        subject.model, blocks, calibration, batch_size=5, keep_mlp_tokens=True, track=silent
    )
    seen: dict[tuple[int, str], list[torch.Tensor]] = {}

    def hook(key):
        return lambda _, inputs: seen.setdefault(key, []).append(
            inputs[0].reshape(-1, inputs[0].shape[-1])
        )

    handles = [
        block.module.get_submodule(block.stack.path(role)).register_forward_pre_hook(
            hook((index, SITE_OF_ROLE[role]))
        )
        for index, block in enumerate(blocks)
        for role in ("query", "output", "up", "down")
    ]
    for prompt in calibration.prompts:  # one at a time there is no padding
        subject.model.base_model(**encode(subject, [prompt]), use_cache=False)
    for handle in handles:
        handle.remove()
    for (index, site), chunks in seen.items():
        x, moments = torch.cat(chunks), found[index].moments[site]
        assert moments.count == len(x)
        torch.testing.assert_close(moments.second, x.T @ x / len(x), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(moments.mean, x.mean(0), rtol=1e-5, atol=1e-5)


def test_block_by_block_measures_the_same_as_all_at_once(subject):
    calibration = calibration_of(subject)
    for scope in ("vision", "language"):
        blocks = subject.family.blocks(subject.model, scope)
        flow = BlockStream(subject.model, blocks, calibration, batch_size=2)
        together = collect(
            subject.model, blocks, calibration, batch_size=2, keep_mlp_tokens=False, track=silent
        )
        for index, expected in enumerate(together):
            found = flow.measure(index, keep_mlp_tokens=False)
            for site, moments in expected.moments.items():
                torch.testing.assert_close(found.moments[site].second, moments.second)
            flow.advance(index)


def test_a_calibration_without_images_cannot_reach_the_tower(subject):
    text_only = PromptSource("questions", [p for p in PROMPTS if not p.images], "f")
    calibration = draw_prompts(text_only, subject, SPEC.model_copy(update={"samples": 2}))
    compressor = compressors.get("svd")
    for propagation in ("original", "sequential"):
        config = configure(compressor.config, {"propagation": propagation}, "svd")
        with pytest.raises(UsageError, match=r"nothing in the calibration reaches .*\.0"):
            compress_model(
                subject, CompressionJob("svd", compressor, config, 0.3, calibration, scope="vision")
            )


def test_the_choice_of_prompts_follows_the_seed(subject):
    many = PromptSource("q", [replace(PROMPTS[1], text=f"cat {i}") for i in range(40)], "f")

    def chosen(seed):
        spec = SPEC.model_copy(update={"seed": seed, "samples": 8})
        return [prompt.text for prompt in draw_prompts(many, subject, spec).prompts]

    assert chosen(0) == chosen(0) != chosen(1)
    assert len(set(chosen(0))) == 8


def test_facts_of_a_prompt_calibration(subject):
    calibration = calibration_of(subject)
    inputs = encode(subject, calibration.prompts)
    assert calibration.facts.tokens == int(inputs["attention_mask"].sum())
    assert calibration.facts.fingerprint == SOURCE.fingerprint
    with pytest.raises(UsageError, match="5 questions, 6 are asked"):
        draw_prompts(SOURCE, subject, SPEC.model_copy(update={"samples": 6}))


@pytest.mark.parametrize("name", VISION_MODELS)
def test_answers_do_not_depend_on_the_batch(name, one_thread):
    subject = tiny_vision_model(name, torch.float32)
    prompts = [replace(prompt, answer=None) for prompt in (*PROMPTS, *PROMPTS[::-1])]
    alone = [answer(subject, [prompt], 6)[0] for prompt in prompts]
    for size in (4, 8):
        batches = (prompts[at : at + size] for at in range(0, len(prompts), size))
        assert [text for batch in batches for text in answer(subject, batch, 6)] == alone


@pytest.mark.parametrize("name", VISION_MODELS)
def test_a_question_sees_its_own_images_in_their_order(name, one_thread):
    subject = tiny_vision_model(name)
    first, second = noise(5), noise(6)
    both = replace(PROMPTS[2], images=(first, second))
    swapped = replace(both, images=(second, first))
    assert not torch.equal(logits(subject, [both]), logits(subject, [swapped]))

    # Whatever its neighbours show, a question without an image gives the same.
    blind, width = PROMPTS[1], -6
    expected = logits(subject, [blind])[0, width:]
    for image in (first, second):
        batch = [replace(PROMPTS[0], images=(image,)), blind, both]
        torch.testing.assert_close(
            logits(subject, batch)[1, width:], expected, rtol=1e-5, atol=1e-5
        )


def test_nan_is_no_answer():
    subject = tiny_vision_model("llava")
    subject.model.lm_head.weight.data[3] = float("nan")
    with pytest.raises(NonFiniteError, match="NaN"):
        answer(subject, PROMPTS[:1], 2)


def test_a_text_model_has_no_tower(tiny):
    subject = tiny("llama")
    with pytest.raises(UsageError, match="'llama' has no vision tower; pass --scope language"):
        subject.family.blocks(subject.model, "vision")
    with pytest.raises(UsageError, match="reads text only"):
        encode(subject, PROMPTS)
