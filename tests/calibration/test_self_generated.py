"""Text that a model writes: against drawing from whole forward passes, and its law."""

from __future__ import annotations

import pytest
import torch

from harness.calibration.self_generated import generate
from harness.errors import NonFiniteError
from harness.support.progress import silent
from tests.helpers.tiny_models import MODELS, random_model
from tests.helpers.tiny_vision_models import VISION_MODELS, tiny_vision_model

OPTIONS = {"batch_size": 3, "track": silent}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def written_without_cache(model, first, length, generator, batch_size):
    rows = []
    for part in first.split(batch_size):
        ids = part[:, None]
        while ids.shape[1] < length:
            p = model(input_ids=ids, use_cache=False).logits[:, -1].float().softmax(-1)
            ids = torch.cat([ids, torch.multinomial(p, 1, generator=generator)], 1)
        rows.append(ids)
    return torch.cat(rows)


@pytest.mark.parametrize("name", MODELS)
def test_it_is_drawn_token_by_token_from_what_the_model_predicts(name, one_thread):
    model, first = random_model(name), torch.tensor([5, 6, 7, 5])
    with torch.no_grad():
        expected = written_without_cache(model, first, 12, seeded(), 3)
    assert torch.equal(generate(model, first, 12, seeded(), **OPTIONS), expected)


@pytest.mark.parametrize("name", VISION_MODELS)
def test_models_that_see_write_without_a_picture(name, one_thread):
    model, first = tiny_vision_model(name).model, torch.tensor([5, 6, 7, 5])
    with torch.no_grad():
        expected = written_without_cache(model, first, 12, seeded(), 3)
    assert torch.equal(generate(model, first, 12, seeded(), **OPTIONS), expected)


def test_it_repeats_by_seed_and_each_sequence_is_its_own(one_thread):
    model, first = random_model("llama"), torch.full((6,), 9)
    one, again, other = (generate(model, first, 20, seeded(s), **OPTIONS) for s in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert len({tuple(row) for row in one.tolist()}) == 6
    assert torch.equal(one[:, 0], first)
    assert one.shape == (6, 20)


def test_tokens_come_as_often_as_they_are_predicted(one_thread):
    model = random_model("llama")
    with torch.no_grad():
        p = model(input_ids=torch.tensor([[9]])).logits[0, -1].softmax(-1)
    drawn = generate(model, torch.full((4000,), 9), 2, seeded(), batch_size=4000, track=silent)
    counted = torch.bincount(drawn[:, 1], minlength=len(p)) / 4000
    spread = (p * (1 - p) / 4000).sqrt()
    assert float(((counted - p).abs() / spread).max()) < 5


def test_a_prediction_that_is_no_number_says_so():
    model = random_model("llama")
    model.lm_head.register_forward_hook(lambda _, __, output: output * float("nan"))
    with pytest.raises(NonFiniteError, match=r"while it writes is NaN or infinite"):
        generate(model, torch.tensor([5]), 3, seeded(), **OPTIONS)


def test_progress_counts_every_token():
    steps = []

    def track(items, title, total):
        steps.append((title, total))
        for item in items:
            steps.append(item.shape)
            yield item

    generate(random_model("llama"), torch.arange(5), 4, seeded(), batch_size=3, track=track)
    assert steps == [("writing", 8), *[(3,)] * 4, *[(2,)] * 4]
