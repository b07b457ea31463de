"""A saved model says what its KV cache stores, and is opened so."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

import harness
from harness.cli.main import main
from harness.latent.install import with_latent_cache
from harness.latent.size import cache_bytes, expected_numbers
from tests.helpers.saved_models import Case, compressed, inputs_of


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
    told = expanded.model.generate(**inputs, **settings)
    tokens, full = told.sequences, cache_bytes(told.past_key_values)
    for model in (latent.model, again.model, opener.from_pretrained(folder)):
        found = model.generate(**inputs, **settings)
        assert torch.equal(found.sequences, tokens)
        rows, length = tokens.shape
        numbers = expected_numbers(model, expanded.family, rows, length - 1)
        assert cache_bytes(found.past_key_values) == 4 * numbers < full


def test_an_expanded_cache_stays_expanded(one_thread, tmp_path):
    subject = compressed(Case("opt", "float32", "latentllm", "block-identity"))
    again = harness.load(harness.save(subject, tmp_path / "saved"))
    assert again.compression.cache is None
    assert type(again.model.model.decoder.layers[0].self_attn) is type(
        subject.model.model.decoder.layers[0].self_attn
    )


def test_the_same_model_with_another_cache_is_another_model(model_folder, texts, tmp_path, capsys):
    saved = tmp_path / "saved"
    compress = ["compress", "--model", str(model_folder("opt")), "--samples", "4", "--length", "16"]
    compress += ["--calibration", str(texts / "calibration.txt"), "--save", str(saved)]
    assert main(compress) == 0
    assert main([*compress, "--cache", "latent"]) == 2
    assert "pass --force to replace it" in capsys.readouterr().err
    assert main([*compress, "--cache", "latent", "--force"]) == 0
    assert harness.load(saved).compression.cache is not None
    assert main([*compress, "--cache", "latent"]) == 0
    assert "saved already" in capsys.readouterr().out
