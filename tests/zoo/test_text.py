from __future__ import annotations

import math

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from harness.assets.kinds import TextAsset
from harness.zoo import language_modelling

DOCUMENTS = [
    f"Document {i}: " + " ".join(f"word{j % 7}" for j in range(i, i + 60)) for i in range(40)
]


@pytest.fixture
def tokenizer():
    return language_modelling.tokenizer_of(DOCUMENTS, vocabulary=300)


@pytest.fixture
def reading(tokenizer):
    return language_modelling.LanguageModelling(
        tokenizer, DOCUMENTS[:30], DOCUMENTS[30:], 2, seed=1, window=16
    )


def test_only_the_part_for_training_is_read(monkeypatch):
    asked = []

    def resolve(reference, purpose):
        asked.append((reference, purpose))
        return TextAsset(reference, tuple(DOCUMENTS), "", None)

    monkeypatch.setattr(language_modelling, "resolve_text", resolve)
    trained, held_out = language_modelling.documents()
    assert asked == [("wiki-excerpt", "calibration")]
    assert trained + held_out == DOCUMENTS
    assert (
        0
        < sum(map(len, held_out))
        <= language_modelling.VALIDATION_SHARE * sum(map(len, DOCUMENTS))
    )


def test_the_tokenizer_gives_back_any_text_and_adds_nothing(tokenizer):
    for written in ("Document 3", "naïve – “quoted”\n\tend "):
        assert tokenizer.decode(tokenizer(written)["input_ids"]) == written


def test_a_pass_reads_every_window_at_most_once(reading):
    seen = [
        tuple(row.tolist())
        for step in range(reading.steps_per_pass)
        for row in reading.windows(step)
    ]
    assert len(seen) == 2 * reading.steps_per_pass
    assert all(len(row) == 16 for row in seen)
    again = [
        tuple(row.tolist())
        for step in range(reading.steps_per_pass)
        for row in reading.windows(step)
    ]
    assert again == seen
    later = reading.windows(reading.steps_per_pass)
    assert not torch.equal(later, reading.windows(0))


def test_the_loss_of_a_fresh_model_is_that_of_guessing(reading, tokenizer):
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        initializer_range=1e-4,
    )
    model = LlamaForCausalLM(config)
    assert reading.validate(model)["loss"] == pytest.approx(math.log(len(tokenizer)), abs=0.05)
    (loss,) = reading.losses(model, 0)
    assert loss.item() == pytest.approx(math.log(len(tokenizer)), abs=0.05)
