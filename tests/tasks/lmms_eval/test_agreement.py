"""Our reading of ScienceQA and TextVQA against lmms-eval's own, to the last sample."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from harness.evaluation.task import Conditions, find_task
from harness.models import generation as chat
from harness.questions.normalized_answer import normalized_answer
from harness.questions.short_answer import INSTRUCTION
from tests.helpers.tiny_vision_models import tiny_vision_model
from tests.tasks.lmms_eval.files import (
    ANSWERS,
    reading_rows,
    reading_task,
    save,
    science_rows,
    science_task,
)

pytest.importorskip("lmms_eval")
pytestmark = pytest.mark.extras

LETTERS = (
    "{}", "{}.", "{}. word", "{}.word", "({})", "{})", "{} ", " {}", "{}\n", "{}\n\nBecause.",
    "The answer is {}.", "{} word", "{}{}", "{}..", "Answer: {}", "{} .", "{}, {}",
)  # fmt: skip
ENDINGS = ("{}", " {}\n", "{} ASSISTANT: no", "{}\n\nmore", "ASSISTANT:{}")
OTHER = ("", ".", "1.", "É.", "Ａ.", "İ", "word", "..", "Word. B.")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("agreement")
    save(science_rows(200), path / "science.parquet")
    save(reading_rows(300), path / "reading.parquet")
    science_task(path)
    reading_task(path)
    return path


def scripted(monkeypatch, subject, texts):
    """A model that says ``texts``, over and over; gives its prompts and generation settings."""
    batch, asked = [], []

    def encode(_, prompts):
        batch[:] = prompts
        return {"input_ids": torch.zeros(len(prompts), 1, dtype=torch.long)}

    def generate(input_ids, **_):
        asked.extend((prompt, subject.model.generation_config) for prompt in batch)
        return input_ids

    def batch_decode(*_, **__):
        end = (len(asked) - 1) % len(texts) + 1
        return texts[end - len(batch) : end]

    monkeypatch.setattr(chat, "encode", encode)
    monkeypatch.setattr(subject.model, "generate", generate)
    monkeypatch.setattr(type(subject.processor), "batch_decode", batch_decode)
    return asked


def both(ours, theirs, subject, **options):
    """Results of our task on its data, and of lmms-eval's file, with 16 new tokens each."""
    results = []
    for name, data, chosen in ((*ours, options), (f"lmms-eval:{theirs}", None, {})):
        task = find_task(name)
        prepared = task.prepare(name, data, task.config(max_new_tokens=16, **chosen))
        results.append(prepared.evaluate(subject, Conditions(batch_size=7)))
    return results


def assert_same_prompts(asked, count) -> None:
    assert len(asked) == 2 * count
    for (ours, mine), (theirs, other) in zip(asked[:count], asked[count:], strict=True):
        assert ours.text == theirs.text
        assert [image.mode for image in ours.images] == ["RGB"] * len(theirs.images)
        shown = [image.tobytes() for image in theirs.images]
        assert [image.tobytes() for image in ours.images] == shown
        assert mine.to_dict() == other.to_dict()
        assert mine.max_new_tokens == 16
        assert not mine.do_sample


def assert_same_scores(mine, other, value) -> None:
    assert [s.answer for s in mine.samples] == [s.answer for s in other.samples]
    scores = [sample.values[value] for sample in mine.samples]
    assert scores == [sample.values["exact_match"] for sample in other.samples]
    assert 0 < sum(scores) < len(scores)
    ours, theirs = mine.metrics[0], other.metrics[0]
    assert ours.value == pytest.approx(theirs.value, abs=1e-12)
    assert ours.stderr == pytest.approx(theirs.stderr, abs=1e-12)
    assert ours.n == theirs.n
    assert ours.higher_is_better == theirs.higher_is_better


def test_science_agrees(folder, monkeypatch) -> None:
    draw = random.Random(0)
    answers = []
    for row in science_rows(200):
        letter = chr(ord("A") + draw.choice([row["answer"], draw.randrange(5)]))
        letter = draw.choice([letter, letter, letter.lower()])
        text = draw.choice(LETTERS).replace("{}", letter)
        answers.append(draw.choice(OTHER) if draw.random() < 0.2 else text)
    subject = tiny_vision_model("llava", torch.float32)
    asked = scripted(monkeypatch, subject, answers)
    mine, other = both(
        ("scienceqa", str(folder / "science.parquet")),
        folder / "local_science.yaml",
        subject,
    )
    assert_same_prompts(asked, 200)
    assert_same_scores(mine, other, "correct")


@pytest.mark.parametrize("ocr", [False, True])
def test_reading_agrees(folder, monkeypatch, ocr) -> None:
    draw = random.Random(1)
    answers = [
        draw.choice(ENDINGS).format(
            draw.choice([*row["answers"], draw.choice(ANSWERS), draw.choice(ANSWERS).upper()])
        )
        for row in reading_rows(300)
    ]
    subject = tiny_vision_model("llava", torch.float32)
    asked = scripted(monkeypatch, subject, answers)
    prompt = '{{default: {{pre_prompt: "", post_prompt: "{}", ocr: true}}}}'
    more = {"task": "ocr", "lmms_eval_specific_kwargs": prompt.format(f"\\n{INSTRUCTION}")}
    file = reading_task(folder, **(more if ocr else {}))
    data = str(folder / "reading.parquet")
    mine, other = both(
        ("textvqa", data),
        file,
        subject,
        ocr=ocr,
    )
    assert_same_prompts(asked, 300)
    assert_same_scores(mine, other, "score")
    assert [metric.name for metric in other.metrics] == ["exact_match (0-shot, max_new_tokens=16)"]


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl"])
def test_a_model_gets_the_same_scores(tmp_path, name) -> None:
    rows = science_rows(12, seed=3)
    save(rows, tmp_path / "science.parquet")
    subject = tiny_vision_model(name, torch.float32)
    mine, other = both(
        ("scienceqa", str(tmp_path / "science.parquet")),
        science_task(tmp_path),
        subject,
    )
    assert [sample.answer for sample in mine.samples] == [s.answer for s in other.samples]
    assert len({sample.answer for sample in mine.samples}) > 6


def test_answers_are_processed_the_same_way() -> None:
    from tasks.lmms_eval.isolation import contained

    with contained():
        from lmms_eval.tasks._task_utils.vqa_eval_metric import EvalAIAnswerProcessor
    theirs = EvalAIAnswerProcessor()
    table = theirs.CONTRACTIONS
    words = [*table, *table.values(), *theirs.NUMBER_MAP, *theirs.PUNCTUATIONS, *ANSWERS]
    draw = random.Random(2)
    texts = [*words, *(word.upper() for word in words)]
    for _ in range(20000):
        parts = draw.choices(
            [*words, " ", " ", "\n", "\t", ".", ",", "'s", "'", "4", "<=3.5", "é"], k=4
        )
        texts.append("".join(parts))
    different = [text for text in texts if normalized_answer(text) != theirs(text)]
    assert different == []
