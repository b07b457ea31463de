"""Bytes read off the cache are those the shapes promise, and those of the paper."""

from __future__ import annotations

import math

import pytest
import torch
from transformers import DynamicCache

from harness.algebra.ranks import rank_for
from harness.families.family import family_of
from harness.latent.install import install
from harness.latent.size import cache_bytes, expected_numbers
from harness.layers.factors import InputIdentity
from harness.models.generation import encode
from tests.helpers.tiny_models import MODELS, opt
from tests.helpers.tiny_vision_models import PROMPTS, VISION_MODELS
from tests.latent.subjects import METHODS, padded, text_pair, vision_pair

pytestmark = pytest.mark.usefixtures("one_thread")
PAPER = {0.2: 0.553, 0.4: 0.368, 0.6: 0.225, 0.8: 0.106}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", MODELS)
def test_text_models_hold_what_is_expected(name, method):
    for subject in text_pair(name, method):
        for steps in (0, 9):
            filled = subject.model.generate(
                **padded(),
                do_sample=False,
                max_new_tokens=1 + steps,
                min_new_tokens=1 + steps,
                return_dict_in_generate=True,
            ).past_key_values
            expected = expected_numbers(subject.model, subject.family, 2, 12 + steps)
            assert cache_bytes(filled) == 8 * expected


@pytest.mark.parametrize("name", VISION_MODELS)
def test_vision_models_hold_what_is_expected(name):
    _, latent = vision_pair(name)
    inputs = encode(latent, PROMPTS)
    filled = latent.model(**inputs, use_cache=True).past_key_values
    rows, tokens = inputs["input_ids"].shape
    assert cache_bytes(filled) == 4 * expected_numbers(latent.model, latent.family, rows, tokens)


@pytest.mark.parametrize("name", MODELS)
def test_the_record_counts_the_same(name):
    plain, latent = text_pair(name)
    facts = latent.compression.cache
    # Before a window is full.
    rotations = 2 if name == "qwen2-sliding" else 1
    one = expected_numbers(latent.model, latent.family, 1, 1)
    assert one in {facts.numbers + facts.rotation, facts.numbers + rotations * facts.rotation}
    assert expected_numbers(plain.model, plain.family, 1, 1) == facts.dense
    assert facts.numbers < facts.dense


@pytest.mark.parametrize(("ratio", "share"), PAPER.items())
def test_the_papers_shapes_take_the_papers_share(ratio, share):
    size = 4096
    rank = rank_for((size, size), 1 - ratio, "block-identity")
    assert rank == math.floor(size * (1 - math.sqrt(ratio)))
    with torch.device("meta"):
        model = opt(
            hidden_size=size,
            word_embed_proj_dim=size,
            ffn_dim=8,
            num_hidden_layers=1,
            num_attention_heads=32,
        )
    attention = model.model.decoder.layers[0].self_attn

    def zeros(*shape):
        return torch.zeros(shape, dtype=torch.bfloat16)

    for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
        factor = InputIdentity(
            zeros(size, rank),
            zeros(rank, size - rank),
            torch.arange(rank),
            torch.arange(rank, size),
            zeros(size),
        )
        setattr(attention, name, factor)
    expanded, latent = DynamicCache(config=model.config), DynamicCache(config=model.config)
    attention(zeros(2, 3, size), past_key_values=expanded)
    facts = install(model, family_of(model.config))
    attention(zeros(2, 3, size), past_key_values=latent)
    attention(zeros(2, 1, size), past_key_values=latent)
    attention_bytes = 2 * 2 * 2 * size
    assert cache_bytes(expanded) == 3 * attention_bytes
    assert cache_bytes(latent) == 2 * 2 * 4 * 2 * rank
    assert cache_bytes(latent) / (4 * attention_bytes) == facts.numbers / facts.dense
    # Ranks are whole numbers; the paper's share is not.
    assert share == round(1 - math.sqrt(ratio), 3)
    assert 0 <= 1 - math.sqrt(ratio) - facts.numbers / facts.dense < 1 / size
