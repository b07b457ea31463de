"""The tasks that need no hub: what they ask and how they score."""

from __future__ import annotations

import functools

import pytest
from PIL import Image

from harness.assets.pins import EASY_VQA
from harness.datasets import easy_vqa as easy
from harness.datasets import mini_scienceqa as science
from harness.datasets import mini_textvqa as reading
from harness.errors import UsageError
from harness.evaluation.task import Conditions, Task, Trained, find_task
from harness.questions import asking
from harness.questions.generated import generated
from harness.questions.multiple_choice import SLICES
from harness.zoo import prompts
from tasks import easy_vqa, mini_scienceqa, mini_textvqa
from tasks.easy_vqa import EasyVQAConfig
from tests.helpers import question_files as files

GENERATED = {
    "mini-scienceqa": (mini_scienceqa.plugin, science.question, prompts.of_scienceqa, 1000),
    "mini-textvqa": (mini_textvqa.plugin, reading.question, prompts.of_textvqa, 500),
}
each = pytest.mark.parametrize("name", GENERATED)


@pytest.mark.parametrize("name", [*GENERATED, "easy-vqa", "scienceqa", "textvqa"])
def test_they_are_registered(name):
    task = find_task(name)
    assert isinstance(task, Task)
    assert isinstance(task, Trained)
    assert task.config()


@functools.cache
def prepared_task(name):
    plugin = GENERATED[name][0]
    return plugin.prepare(name, None, plugin.config())


def same(prompt, other) -> bool:
    pixels = [[image.tobytes() for image in one.images] for one in (prompt, other)]
    return (prompt.text, prompt.answer, pixels[0]) == (other.text, other.answer, pixels[1])


@each
def test_questions_are_put_as_the_models_were_trained(name):
    plugin, draw, put, count = GENERATED[name]
    prepared = prepared_task(name)
    assert len(prepared.questions) == count
    for index in range(0, count, 50):
        prompt = prepared.questions[index].prompt(answered=True)
        assert same(prompt, put(draw("test", index)))
    training = plugin.training(name, None)
    assert len(training.prompts) == 2000
    assert same(training.prompts[77], put(draw("train", 77)))
    assert training.fingerprint != prepared.data.fingerprint


@each
def test_the_right_answers_score(name, monkeypatch):
    prepared = prepared_task(name)
    answers = [question.answer for question in prepared.questions[:200]]
    monkeypatch.setattr(asking, "write", files.answering(*answers))
    result = prepared.evaluate(files.seeing(), Conditions(limit=200))
    assert result.metrics[0].value == 1
    slices = [metric.slice for metric in result.metrics]
    assert slices == ([None, *SLICES] if name == "mini-scienceqa" else [None])


def drawn(split, index, colour="red"):
    return files.science(question=f"{split} {index}", image=Image.new("RGB", (4, 4), colour))


def test_the_fingerprint_of_generated_questions_follows_their_pixels():
    def fingerprint(draw, count=3):
        return generated("mine", draw, count)("mine", None, "evaluation").fingerprint

    first = fingerprint(drawn)
    assert first == fingerprint(drawn)
    assert first != fingerprint(lambda split, index: drawn(split, index, "blue"))
    assert first != fingerprint(lambda split, index: drawn(split, index + 1))
    assert first != fingerprint(drawn, 2)


def test_generated_questions_may_be_replaced(tmp_path):
    path = files.save_lines(tmp_path / "q.jsonl", [files.science()])
    plugin = mini_scienceqa.plugin
    prepared = plugin.prepare("mini-scienceqa", str(path), plugin.config())
    assert len(prepared.questions) == 1
    with pytest.raises(UsageError, match="pass --tasks mini-scienceqa=PATH"):
        plugin.prepare("mini-scienceqa", "nothing", plugin.config())


class Rows(list):
    """Forty questions about pictures of three colours."""

    def __init__(self, split):
        super().__init__(
            Row(split, index, ("red", "green", "blue")[index % 3]) for index in range(40)
        )


class Row:
    def __init__(self, split, index, answer):
        self.image_id, self.answer, self.question = index, answer, f"{split} {index}?"

    @property
    def image(self):
        return Image.new("RGB", (8, 8), self.answer)


@pytest.fixture
def shapes(monkeypatch):
    monkeypatch.setattr(easy, "rows", Rows)
    return lambda **options: easy_vqa.plugin.prepare("easy-vqa", None, EasyVQAConfig(**options))


def test_easy_vqa_asks_a_fixed_choice(shapes):
    def ids(count):
        return [int(question.id) for question in shapes(questions=count).questions]

    few, more = ids(5), ids(20)
    assert few == ids(5) == sorted(few)
    assert len(few) == 5
    assert set(few) < set(more)
    assert few != list(range(5))
    assert ids(1000) == list(range(40))
    with pytest.raises(UsageError, match="pass --questions 1000"):
        EasyVQAConfig(questions=0)


def test_easy_vqa_scores_processed_answers(shapes, monkeypatch):
    prepared = shapes(questions=4)
    right = [question.answer for question in prepared.questions]
    answers = [right[0].upper(), f"The {right[1]}.", f"{right[2]} shape", ""]
    monkeypatch.setattr(asking, "write", files.answering(*answers))
    result = prepared.evaluate(files.seeing(), Conditions())
    assert [sample.values["correct"] for sample in result.samples] == [1, 1, 0, 0]
    (metric,) = result.metrics
    assert metric.name == "accuracy[prompt=short,parse=processed,max_new_tokens=16]"
    assert metric.interval == pytest.approx((0.15, 0.85), abs=1e-2)


def test_easy_vqa_prompts(shapes):
    prepared, training = shapes(), easy_vqa.plugin.training("easy-vqa", None)
    assert prepared.data.revision == training.revision == EASY_VQA
    assert prepared.data.fingerprint != training.fingerprint
    row = Rows("train")[2]
    assert same(training.prompts[2], prompts.of_easy_vqa(row))
    assert prepared.questions[2].text.startswith("test 2?\n")
