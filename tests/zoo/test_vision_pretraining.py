"""Learning to see: targets are where the letters are, and only the tower learns."""

from __future__ import annotations

import pytest
import torch

from harness.datasets import mini_scienceqa, mini_textvqa
from harness.datasets.deterministic import seeded_random
from harness.support.progress import silent
from harness.zoo import models, prompts, vision_pretraining
from harness.zoo.question_answering import QuestionAnswering, batch
from harness.zoo.vision_processors import llava_processor, qwen_processor
from tests.helpers.tiny_vision_models import noise

KINDS = {
    "llava": (llava_processor, models.llava),
    "qwen2.5-vl": (qwen_processor, models.qwen2_5_vl),
}


@pytest.fixture(params=KINDS)
def training(request, monkeypatch, one_thread):
    shapes = [
        vision_pretraining.LabelledPicture(noise(i, 64, 64), {"shape": "circle", "colour": "teal"})
        for i in range(30)
    ]
    monkeypatch.setattr(vision_pretraining, "_shapes", lambda: shapes)
    monkeypatch.setattr(vision_pretraining, "PICTURES", 6)
    make_processor, build = KINDS[request.param]
    processor = make_processor(["user\nwhich is it?\nassistant\nA"])

    def fresh():
        torch.manual_seed(0)
        return build(processor.tokenizer)

    return processor, fresh


def test_cells_hold_the_letters_that_are_drawn_there():
    for seed in range(50):
        rng = seeded_random("cells", seed)
        placed = mini_textvqa.lines(rng, "train")
        picture = mini_textvqa.draw_lines(rng, placed)
        letters, inks = vision_pretraining.LabelledPicture(picture, lines=tuple(placed)).cells()
        rows = [
            "".join(vision_pretraining.LETTERS[i] for i in letters[at : at + 4])
            for at in (0, 4, 8, 12)
        ]
        assert [row.strip() for row in rows if row.strip()] == [line.word for line in placed]
        for cell in range(16):
            x, y = 16 * (cell % 4), 16 * (cell // 4)
            inside = picture.crop((x + 2, y + 2, x + 14, y + 14)).getcolors()
            assert (len(inside) == 1) == (letters[cell] == 0 == inks[cell])


def test_a_picture_without_writing_has_no_cells_to_read():
    letters, inks = vision_pretraining.LabelledPicture(
        noise(0, 64, 64), {"shape": "circle"}
    ).cells()
    assert set(letters) == set(inks) == {-100}


def test_views_are_from_training_data_only(monkeypatch):
    monkeypatch.setattr(
        vision_pretraining,
        "_shapes",
        lambda: [vision_pretraining.LabelledPicture(noise(0, 64, 64))] * 30,
    )
    splits = []
    draw = mini_scienceqa.question
    monkeypatch.setattr(
        mini_scienceqa, "question", lambda split, i: splits.append(split) or draw(split, i)
    )
    seen = vision_pretraining.labelled_pictures(seeded_random("views"))
    assert set(splits) == {"train"}
    assert len(seen) == 3 * vision_pretraining.PICTURES
    assert sum(view.lines is not None for view in seen) == vision_pretraining.PICTURES


def test_only_the_tower_learns_and_always_the_same(training):
    processor, fresh = training
    before, model, again = fresh(), fresh(), fresh()
    for trained in (model, again):
        vision_pretraining.pretrain_vision(trained, processor, 3, 0, silent)
    tower = {id(p) for p in vision_pretraining.vision_tower(model).parameters()}
    changed = 0
    for (name, p), q, start in zip(
        model.named_parameters(), again.parameters(), before.parameters(), strict=True
    ):
        assert torch.equal(p, q), name
        if id(p) in tower:
            changed += not torch.equal(p, start)
        else:
            assert torch.equal(p, start), name
    assert changed > 20


def test_seeing_gets_better(training):
    processor, fresh = training
    first = vision_pretraining.pretrain_vision(fresh(), processor, 1, 0, silent)
    assert vision_pretraining.pretrain_vision(fresh(), processor, 25, 0, silent) < 0.9 * first


def test_the_loss_of_answers_equals_a_loop(training, monkeypatch):
    processor, fresh = training
    monkeypatch.setattr(
        "harness.zoo.question_answering.SHARES", {"mini-scienceqa": 0.5, "mini-textvqa": 0.5}
    )
    model = fresh()
    asked = [prompts.of_scienceqa(mini_scienceqa.question("train", i)) for i in range(4)]
    objective = QuestionAnswering(processor, batch_size=4, seed=0)
    answers, questions = objective._cross_entropies(model, asked)
    inputs, labels = batch(processor, asked)
    with torch.autocast("cpu", torch.bfloat16):
        scores = model(**inputs).logits.float().log_softmax(-1)
    expected, read = [], []
    for row, ids in enumerate(inputs["input_ids"]):
        terms = []
        for at in range(1, len(ids)):
            loss = -scores[row, at - 1, ids[at]].item()
            if labels[row, at] != -100:
                terms.append(loss)
            elif inputs["attention_mask"][row, at] and ids[at] != processor.image_token_id:
                read.append(loss)
        expected.append(sum(terms) / len(terms))
    assert answers.item() == pytest.approx(sum(expected) / len(expected), rel=1e-4)
    assert questions.item() == pytest.approx(sum(read) / len(read), rel=1e-4)
    total = sum(loss.item() for loss in objective.losses(model, 0))
    assert total == pytest.approx(sum(loss.item() for loss in objective.losses(model, 0)))
