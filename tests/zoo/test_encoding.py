from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from harness.datasets import mini_scienceqa, mini_textvqa
from harness.models import generation as chat
from harness.zoo import prompts
from harness.zoo.encoding import TOKENS, encode
from harness.zoo.question_answering import answer_ids, batch
from harness.zoo.vision_processors import llava_processor, qwen_processor

ASKED = [
    prompts.of_scienceqa(mini_scienceqa.question("validation", index)) for index in range(8)
] + [prompts.of_textvqa(mini_textvqa.question("validation", index)) for index in range(3)]


@pytest.fixture(scope="module", params=[llava_processor, qwen_processor])
def processor(request):
    return request.param([f"user\n{prompt.text}\nassistant\n{prompt.answer}" for prompt in ASKED])


@pytest.mark.parametrize("asked", [ASKED, ASKED[:1], [p for p in ASKED if not p.images]])
def test_what_is_trained_on_is_what_the_processor_gives(processor, asked):
    subject = SimpleNamespace(
        processor=processor,
        model=SimpleNamespace(device="cpu", dtype=torch.float32),
        asset=SimpleNamespace(reference="tiny"),
    )
    expected, found = chat.encode(subject, asked), encode(processor, asked)
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-6)


def test_labels_are_the_answer_and_the_end_of_its_turn(processor):
    inputs, labels = batch(processor, ASKED)
    for ids, row, prompt in zip(inputs["input_ids"], labels, ASKED, strict=True):
        wanted = row[row != -100]
        assert wanted.tolist() == answer_ids(processor, prompt) == ids[row != -100].tolist()
        assert processor.decode(wanted[:-1]) == prompt.answer


def test_a_picture_takes_sixteen_tokens(processor):
    shown = next(prompt for prompt in ASKED if prompt.images)
    ids = encode(processor, [shown])["input_ids"]
    assert (ids == processor.image_token_id).sum() == TOKENS == 16


def test_words_are_spelled_letter_by_letter_and_numbers_digit_by_digit(processor):
    tokenizer = processor.tokenizer
    assert tokenizer.convert_ids_to_tokens(tokenizer.encode("KOLA")) == ["K", "O", "L", "A"]
    assert tokenizer.tokenize(": 35 kg")[1:3] == ["Ġ3", "5"]


def test_instructions_are_one_token_each_where_they_were_trained_on():
    texts = [f"{prompts.SHORT}\n{prompts.LETTER}"] * 10
    tokenizer = llava_processor(texts).tokenizer
    assert len(tokenizer.tokenize(prompts.SHORT)) == len(tokenizer.tokenize(prompts.LETTER)) == 1
