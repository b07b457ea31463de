"""The loop: batches, skipped questions, memory, models that cannot see."""

from __future__ import annotations

import weakref

import pytest
import torch
from PIL import Image

from harness.errors import AssetError, InfrastructureError, UsageError
from harness.evaluation.task import Conditions
from harness.models.generation import Written
from harness.questions import asking
from tasks import scienceqa
from tasks.scienceqa import ScienceQAConfig
from tests.helpers import question_files as files


def save(tmp_path, images):
    """Questions with images by file name; answers are A."""
    rows = [files.science(question=f"q{i}", image=image) for i, image in enumerate(images)]
    return files.save_lines(tmp_path / "q.jsonl", rows)


def prepare(path):
    return scienceqa.plugin.prepare("scienceqa", str(path), ScienceQAConfig())


@pytest.fixture
def mixed(tmp_path):
    """Pictures, words and four kinds of broken pictures."""
    files.save_picture(tmp_path / "red.png", files.RED)
    files.save_picture(tmp_path / "blue.png", files.BLUE)
    (tmp_path / "page.png").write_bytes(b"<html>")
    (tmp_path / "empty.png").write_bytes(b"")
    whole = (tmp_path / "red.png").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    images = ["red.png", None, "page.png", "gone.png", "blue.png", None, "empty.png", "half.png"]
    return save(tmp_path, images)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8, 100])
def test_each_question_has_its_own_picture(batch_size, mixed, monkeypatch):
    fake = files.answering(*"AABA")
    monkeypatch.setattr(asking, "write", fake)
    result = prepare(mixed).evaluate(files.seeing(), Conditions(batch_size=batch_size))
    asked = [prompt for batch in fake.seen for prompt in batch]
    assert [prompt.text.partition("\n")[0] for prompt in asked] == ["q0", "q1", "q4", "q5"]
    shown = [[image.getpixel((0, 0)) for image in prompt.images] for prompt in asked]
    assert shown == [[files.RED], [], [files.BLUE], []]
    assert all(prompt.answer is None for prompt in asked)
    assert [sample.id for sample in result.samples] == ["0", "1", "4", "5"]
    assert [sample.values for sample in result.samples] == [{"correct": c} for c in (1, 1, 0, 1)]
    assert (result.metrics[0].value, result.metrics[0].n) == (0.75, 4)
    assert result.batch_size == batch_size


def test_what_cannot_be_shown_is_skipped_by_name(mixed, monkeypatch):
    monkeypatch.setattr(asking, "write", files.answering(*"AAAA"))
    result = prepare(mixed).evaluate(files.seeing(), Conditions())
    assert [one.id for one in result.skipped] == ["2", "3", "6", "7"]
    for one, name in zip(result.skipped, ["page", "gone", "empty", "half"], strict=True):
        assert one.reason.startswith(f"question {one.id} of {mixed}: {mixed.parent / name}.png")


def test_nothing_to_show(tmp_path, monkeypatch):
    monkeypatch.setattr(asking, "write", files.answering())
    (tmp_path / "page.png").write_bytes(b"<html>")
    prepared = prepare(save(tmp_path, ["page.png", "page.png"]))
    with pytest.raises(AssetError, match="none of the 2 questions can be shown; question 0 of"):
        prepared.evaluate(files.seeing(), Conditions())


def test_a_limit_keeps_the_first(mixed, monkeypatch):
    monkeypatch.setattr(asking, "write", files.answering(*"AAA"))
    result = prepare(mixed).evaluate(files.seeing(), Conditions(limit=3))
    assert [sample.id for sample in result.samples] == ["0", "1"]
    assert [one.id for one in result.skipped] == ["2"]


def test_a_model_that_reads_text_only_is_refused_at_once(mixed, monkeypatch):
    monkeypatch.setattr(asking, "write", files.answering())
    blind = files.seeing()
    blind.processor = None
    monkeypatch.setattr(Image, "open", None)
    with pytest.raises(UsageError, match="fake reads text only and this task shows images"):
        prepare(mixed).evaluate(blind, Conditions())


def test_only_one_batch_of_images_is_held(tmp_path, monkeypatch):
    files.save_picture(tmp_path / "red.png")
    prepared = prepare(save(tmp_path, ["red.png"] * 10))
    living, most = weakref.WeakSet(), []

    def answer(subject, prompts, max_new_tokens, stop):
        living.update(prompts)
        most.append(len(living))
        return (Written("A", ended=True),) * len(prompts)

    monkeypatch.setattr(asking, "write", answer)
    monkeypatch.setattr("harness.questions.question.Prompt", weakly_referable())
    prepared.evaluate(files.seeing(), Conditions(batch_size=2))
    assert max(most) <= 4


def weakly_referable():
    class Prompt:
        def __init__(self, text, images, answer):
            self.text, self.images, self.answer = text, images, answer

    return Prompt


def test_the_batch_is_halved_until_it_fits(mixed, monkeypatch):
    sizes = []

    def answer(subject, prompts, max_new_tokens, stop):
        sizes.append(len(prompts))
        if len(prompts) > 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")
        return (Written("A", ended=True),)

    monkeypatch.setattr(asking, "write", answer)
    result = prepare(mixed).evaluate(files.seeing(), Conditions(batch_size=4))
    assert result.batch_size == 1
    assert len(result.skipped) == 4
    assert sizes == [2, 2, 1, 1, 1, 1]


def test_even_one_question_may_not_fit(mixed, monkeypatch):
    def answer(subject, prompts, max_new_tokens, stop):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")

    monkeypatch.setattr(asking, "write", answer)
    with pytest.raises(InfrastructureError, match="out of memory"):
        prepare(mixed).evaluate(files.seeing(), Conditions(batch_size=2))


def test_progress_is_told(mixed, monkeypatch):
    told = []

    def track(items, description, total):
        for item in items:
            told.append((description, total))
            yield item

    monkeypatch.setattr(asking, "write", files.answering(*"AAAA"))
    prepare(mixed).evaluate(files.seeing(), Conditions(batch_size=3, track=track))
    assert told == [("questions", 3)] * 3


def test_a_training_image_that_cannot_be_opened(mixed):
    found = scienceqa.plugin.training("scienceqa", str(mixed))
    assert found.prompts[0].images[0].size == (6, 4)
    assert [prompt.answer for prompt in found.prompts[:2]] == ["A", "A"]
    with pytest.raises(AssetError, match=r"question 2 of .*page\.png cannot be shown"):
        found.prompts[2]
    with pytest.raises(IndexError):
        found.prompts[8]
