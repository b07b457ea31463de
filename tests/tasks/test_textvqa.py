"""TextVQA: prompt, scoring, where answers end."""

from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.evaluation.task import Conditions, Task, Trained
from harness.models.generation import Written
from harness.questions import asking
from harness.questions.rows import QuestionRows
from harness.questions.short_answer import ReadingConfig, reading
from tasks import textvqa
from tests.helpers import question_files as files

INSTRUCTION = "\nAnswer the question using a single word or phrase."


def pose(config=None, **changes):
    row = files.reading(**changes)
    rows = QuestionRows("mine", [row], frozenset(row), "f")
    return reading(config or ReadingConfig()).pose(rows.checked(0))


def prepare(tmp_path, rows, **options):
    files.save_picture(tmp_path / "picture.png")
    path = files.save_lines(tmp_path / "q.jsonl", rows)
    return textvqa.plugin.prepare("textvqa", str(path), ReadingConfig(**options))


def test_it_is_a_task_with_training_data():
    assert isinstance(textvqa.plugin, Task)
    assert isinstance(textvqa.plugin, Trained)


@pytest.mark.parametrize(
    ("ocr", "changes", "expected"),
    [
        (False, {}, "What does the sign say?"),
        (True, {}, "What does the sign say?\nReference OCR token: STOP, sign"),
        (True, {"ocr_tokens": []}, "What does the sign say?\nReference OCR token: "),
        (False, {"question": "ÜBER what?"}, "Über what?"),
        (False, {"question": " what?"}, " what?"),
    ],
)
def test_prompt(ocr, changes, expected):
    assert pose(ReadingConfig(ocr=ocr), **changes).text == expected + INSTRUCTION


def test_ocr_tokens_are_needed_only_where_they_are_shown(tmp_path):
    row = files.reading()
    del row["ocr_tokens"]
    assert prepare(tmp_path, [row])
    with pytest.raises(UsageError, match="has no 'ocr_tokens'"):
        prepare(tmp_path, [row], ocr=True)


def test_result(tmp_path, monkeypatch):
    rows = [files.reading(question_id=name) for name in (11, 4)]
    fake = files.answering("The STOP!", "stop sign")
    monkeypatch.setattr(asking, "write", fake)
    result = prepare(tmp_path, rows).evaluate(files.seeing(), Conditions())
    (metric,) = result.metrics
    assert metric.name == "vqa_accuracy[prompt=short,ocr=off,max_new_tokens=16]"
    assert metric.value == pytest.approx(0.95)
    assert metric.stderr == pytest.approx(0.05)
    assert metric.interval == pytest.approx((0.852, 1.0), abs=1e-3)
    assert [(sample.id, sample.answer) for sample in result.samples] == [
        ("11", "The STOP!"),
        ("4", "stop sign"),
    ]
    assert [sample.values["score"] for sample in result.samples] == pytest.approx([1.0, 0.9])


def test_ocr_and_length_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(asking, "write", files.answering("stop"))
    prepared = prepare(tmp_path, [files.reading()], ocr=True, max_new_tokens=5)
    (metric,) = prepared.evaluate(files.seeing(), Conditions()).metrics
    assert metric.name == "vqa_accuracy[prompt=short,ocr=on,max_new_tokens=5]"
    assert metric.interval is None


def test_answers_end_where_those_of_lmms_eval_do(tmp_path, monkeypatch):
    ends = []

    def answer(subject, prompts, max_new_tokens, stop):
        ends.append((max_new_tokens, stop))
        return (Written("stop", ended=True),) * len(prompts)

    monkeypatch.setattr(asking, "write", answer)
    prepare(tmp_path, [files.reading()]).evaluate(files.seeing(), Conditions())
    assert ends == [(16, ("ASSISTANT:",))]


@pytest.mark.parametrize("answers", [[], None, "stop", [3]])
def test_answers_that_are_none(answers, tmp_path):
    with pytest.raises(UsageError, match=r"question 7 of .*'answers' must be a list of 1 or more"):
        prepare(tmp_path, [files.reading(answers=answers)])


def test_a_question_without_its_image_is_skipped(tmp_path, monkeypatch):
    rows = [files.reading(question_id=1, image=None), files.reading(question_id=2)]
    monkeypatch.setattr(asking, "write", files.answering("stop"))
    result = prepare(tmp_path, rows).evaluate(files.seeing(), Conditions())
    assert [one.id for one in result.skipped] == ["1"]
    assert "question 1 of" in result.skipped[0].reason
    assert "there is no image" in result.skipped[0].reason
    assert result.metrics[0].n == 1


def test_training_answers_are_the_most_common(tmp_path):
    files.save_picture(tmp_path / "picture.png")
    answers = ["b", "a", "c", "a", "c"]
    files.save_lines(tmp_path / "train.jsonl", [files.reading(answers=answers)])
    found = textvqa.plugin.training("textvqa", str(tmp_path))
    (prompt,) = found.prompts
    assert prompt.answer == "a"
    assert prompt.images[0].getpixel((0, 0)) == files.RED


def test_where_its_own_data_lies():
    own = textvqa.plugin.source(ReadingConfig()).own
    assert own.repository == "lmms-lab/textvqa"
    assert own.splits == {"calibration": "train", "evaluation": "validation"}
