"""A saved model says what its KV cache stores, and is opened so."""

from __future__ import annotations

import pytest
import torch
from saved_models import Case, compressed, inputs_of
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

import harness
from harness.latent.install import with_latent_cache
from harness.latent.size import cache_bytes, expected_numbers


@pytest.mark.parametrize("family", ["opt", "llama", "qwen3", "llava", "qwen2_5_vl"])
def test_a_latent_cache_stays_latent(family, one_thread, tmp_path):
    expanded = compressed(Case(family, "float32", "latentllm", "block-identity"))
    latent = with_latent_cache(expanded)
    folder = harness.save(latent, tmp_path / "saved")
    again = harness.load(folder)
    assert again.compression == latent.compression
    opener = AutoModelForImageTextToText if again.processor else AutoModelForCausalLM
    inputs = inputs_of(expanded)
    settings = {"max_new_tokens": 4, "do_sample": False, "return_dict_in_generate": True}
    tokens = expanded.model.generate(**inputs, **settings).sequences
    for model in (latent.model, again.model, opener.from_pretrained(folder)):
        found = model.generate(**inputs, **settings)
        assert torch.equal(found.sequences, tokens)
        rows, length = tokens.shape
        numbers = expected_numbers(model, expanded.family, rows, length - 1)
        assert cache_bytes(found.past_key_values) == 4 * numbers


def test_an_expanded_cache_stays_expanded(one_thread, tmp_path):
    subject = compressed(Case("opt", "float32", "latentllm", "block-identity"))
    again = harness.load(harness.save(subject, tmp_path / "saved"))
    assert again.compression.cache is None
    assert type(again.model.model.decoder.layers[0].self_attn) is type(
        subject.model.model.decoder.layers[0].self_attn
    )
