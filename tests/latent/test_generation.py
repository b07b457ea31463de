"""Whatever transformers does with a cache, latents give what the same factors give without."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from transformers import DynamicCache, StaticCache

from harness.latent import attention as latent_attention
from harness.latent.attention import LatentAttention
from harness.models.generation import answer, encode
from tests.helpers.tiny_models import MODELS
from tests.helpers.tiny_vision_models import PROMPTS, VISION_MODELS
from tests.latent.subjects import METHODS, padded, text_pair, vision_pair, with_attention

pytestmark = pytest.mark.usefixtures("one_thread")
ATTENTION = ("sdpa", "eager")
# Llama's norms work in float32 whatever the model's precision.
EXACT = {"rtol": 2e-5, "atol": 2e-5}
STRATEGIES = {
    "greedy": {"do_sample": False},
    "sampling": {"do_sample": True, "top_k": 20},
    "beams": {"do_sample": False, "num_beams": 3},
    "sampled beams": {"do_sample": True, "num_beams": 2, "num_return_sequences": 2},
    "static cache": {"do_sample": False, "cache_implementation": "static"},
    "without cache": {"do_sample": False, "use_cache": False},
}

CACHES = {
    "growing": lambda config: DynamicCache(),
    "growing by config": lambda config: DynamicCache(config=config),
    "static": lambda config: StaticCache(config=config, max_cache_len=20),
}


def generated(model, inputs, strategy, **options):
    torch.manual_seed(0)
    return model.generate(
        **inputs,
        **STRATEGIES[strategy] | {"max_new_tokens": 14, "min_new_tokens": 14} | options,
        return_dict_in_generate=True,
        output_scores=True,
    )


@torch.no_grad()
def in_pieces(model, inputs, sizes, cache, inspect=lambda cache: cache):
    """Logits of the whole input, of which the model is given a piece at a time."""
    pieces, start = [], 0
    for size in sizes:
        stop = start + size
        piece = model(
            input_ids=inputs["input_ids"][:, start:stop],
            attention_mask=inputs["attention_mask"][:, :stop],
            past_key_values=cache,
            use_cache=True,
        )
        pieces.append(piece.logits)
        cache, start = inspect(piece.past_key_values), stop
    return torch.cat(pieces, 1)


def close_where_seen(found, expected, inputs, **tolerance):
    seen = inputs["attention_mask"].bool()
    torch.testing.assert_close(found[seen], expected[seen], **tolerance)


@pytest.mark.parametrize("implementation", ATTENTION)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", MODELS)
def test_logits_do_not_depend_on_the_cache(name, method, implementation):
    # Eager attention gives NaN for padding in float64.
    dtype = torch.float64 if implementation == "sdpa" else torch.float32
    plain, latent = text_pair(name, method, dtype)
    inputs = padded()
    model = with_attention(latent, implementation)
    with torch.no_grad():
        expected = with_attention(plain, implementation)(**inputs, use_cache=False).logits
        assert torch.equal(model(**inputs, use_cache=False).logits, expected)
    for sizes in ([12], [1] * 12, [5, 1, 4, 2]):
        found = in_pieces(model, inputs, sizes, DynamicCache(config=model.config))
        close_where_seen(found, expected, inputs, **EXACT)


@pytest.mark.parametrize("transient", [1, 8 * latent_attention.SHORTEST * 3])
@pytest.mark.parametrize("make", CACHES.values(), ids=CACHES)
@pytest.mark.parametrize("name", MODELS)
def test_small_parts_change_nothing(name, make, transient, monkeypatch):
    """One token and query, and three queries, at a time.

    There are parts of nothing but padding, and of nothing but empty places of a static cache.
    """
    plain, latent = text_pair(name)
    inputs = padded()
    expected = plain.model(**inputs, use_cache=False).logits
    monkeypatch.setattr(latent_attention, "TRANSIENT", transient)
    for sizes in ([5, 1, 4, 2], [12]):
        found = in_pieces(latent.model, inputs, sizes, make(latent.model.config))
        close_where_seen(found, expected, inputs, **EXACT)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", MODELS)
def test_every_way_to_generate_gives_the_same_tokens(name, strategy):
    plain, latent = text_pair(name, dtype=torch.float32)
    expected = generated(plain.model, padded(), strategy)
    found = generated(latent.model, padded(), strategy)
    assert torch.equal(found.sequences, expected.sequences)
    for ours, theirs in zip(found.scores, expected.scores, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", MODELS)
def test_rejected_candidates_are_taken_out_of_the_cache(name):
    plain, latent = text_pair(name, dtype=torch.float32)
    inputs = {key: tensor[1:].repeat(1, 2) for key, tensor in padded(length=8).items()}
    expected = generated(plain.model, inputs, "greedy")
    found = generated(latent.model, inputs, "greedy", prompt_lookup_num_tokens=3)
    assert torch.equal(found.sequences, expected.sequences)


@pytest.mark.parametrize("make", CACHES.values(), ids=CACHES)
@pytest.mark.parametrize("name", MODELS)
def test_a_cache_of_ones_own_may_be_copied_and_used_again(name, make):
    plain, latent = text_pair(name)
    inputs = padded()
    expected = plain.model(**inputs, use_cache=False).logits
    cache = make(latent.model.config)
    in_pieces(latent.model, {k: t[:, :7] for k, t in inputs.items()}, [3, 4], cache)
    branch = copy.deepcopy(cache)
    for held in (cache, branch):
        found = latent.model(
            input_ids=inputs["input_ids"][:, 7:],
            attention_mask=inputs["attention_mask"],
            past_key_values=held,
        ).logits
        torch.testing.assert_close(found, expected[:, 7:], **EXACT)
    cache.reset()
    found = in_pieces(latent.model, inputs, [5, 7], cache)
    close_where_seen(found, expected, inputs, **EXACT)


@torch.no_grad()
@pytest.mark.parametrize("name", ["opt", "llama"])
def test_a_step_on_a_static_cache_compiles_without_a_break(name):
    plain, latent = text_pair(name, dtype=torch.float32)
    ids = padded()["input_ids"]
    expected = plain.model(input_ids=ids, use_cache=False).logits
    cache = StaticCache(config=latent.model.config, max_cache_len=20)
    latent.model(input_ids=ids[:, :9], past_key_values=cache)
    step = torch.compile(latent.model.forward, fullgraph=True, backend="eager")
    for n in range(9, 12):
        place = {"position_ids": torch.full((2, 1), n), "past_key_values": cache}
        found = step(input_ids=ids[:, n : n + 1], **place).logits[:, 0]
        torch.testing.assert_close(found, expected[:, n], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["opt", "llama"])
def test_a_cache_follows_its_rows(name):
    plain, latent = text_pair(name)
    inputs = padded(rows=3)
    order = torch.tensor([2, 0])

    def reorder(cache):
        if cache.get_seq_length() == 6:
            cache.batch_select_indices(order)
            cache.batch_repeat_interleave(2)
        return cache

    rows = order.repeat_interleave(2)
    expected = plain.model(
        **{key: tensor[rows] for key, tensor in inputs.items()}, use_cache=False
    ).logits
    cache = DynamicCache(config=latent.model.config)
    in_pieces(latent.model, {k: t[:, :6] for k, t in inputs.items()}, [6], cache, reorder)
    found = latent.model(
        input_ids=inputs["input_ids"][rows, 6:],
        attention_mask=inputs["attention_mask"][rows],
        past_key_values=cache,
    ).logits
    torch.testing.assert_close(found, expected[:, 6:], **EXACT)


@pytest.mark.parametrize("transient", [1, latent_attention.TRANSIENT])
@pytest.mark.parametrize("name", MODELS)
def test_eager_attention_still_shows_its_weights(name, transient, monkeypatch):
    plain, latent = (with_attention(subject, "eager") for subject in text_pair(name))
    monkeypatch.setattr(latent_attention, "TRANSIENT", transient)
    inputs = padded()
    expected = plain(**inputs, use_cache=True, output_attentions=True).attentions
    found = latent(**inputs, use_cache=True, output_attentions=True).attentions
    assert len(found) == len(expected) == 2
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours[1], theirs[1], **EXACT)


@pytest.mark.parametrize("implementation", ATTENTION)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["opt", "llama", "qwen3"])
def test_half_precision_rounds_no_worse_than_the_expanded_cache(name, dtype, implementation):
    exact, _ = text_pair(name)
    inputs = padded()
    with torch.no_grad():
        truth = exact.model.float()(**inputs, use_cache=False).logits
    exact.model.double()
    errors = []
    for subject in text_pair(name):
        model = copy.deepcopy(with_attention(subject, implementation)).to(dtype)
        found = in_pieces(model, inputs, [6, 1, 1, 4], DynamicCache(config=model.config))
        assert found.dtype == dtype
        errors.append(float((found - truth)[1].norm() / truth[1].norm()))
    expanded, latent = errors
    assert latent < 1.5 * expanded + torch.finfo(dtype).eps


@pytest.mark.parametrize("name", VISION_MODELS)
def test_answers_about_images_are_the_same(name):
    plain, latent = vision_pair(name)
    asked = [replace(prompt, answer=None) for prompt in PROMPTS]
    for options in ({}, {"num_beams": 2}):
        expected = answer(plain, asked, 8, **options)
        assert answer(latent, asked, 8, **options) == expected
    with torch.no_grad():
        inputs = encode(latent, asked)
        expected = plain.model(**inputs, use_cache=True)
        found = latent.model(**inputs, use_cache=True)
    close_where_seen(found.logits, expected.logits, inputs, rtol=1e-4, atol=1e-4)
    assert any(isinstance(module, LatentAttention) for module in latent.model.modules())
