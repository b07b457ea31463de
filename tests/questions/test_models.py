"""Real models, tiny and random, that answer questions."""

from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.evaluation.task import Conditions
from harness.models import generation as chat
from harness.models.prompt import Prompt
from harness.questions.short_answer import ReadingConfig
from tasks import scienceqa, textvqa
from tasks.scienceqa import ScienceQAConfig
from tests.helpers import question_files as files
from tests.helpers import tiny_vision_models as tiny

every_model = pytest.mark.parametrize("name", tiny.VISION_MODELS)


@pytest.fixture
def path(tmp_path):
    """Questions with a picture, with a broken one, and without, in turn."""
    for index in range(3):
        tiny.noise(index, 40 + 8 * index, 32).save(tmp_path / f"{index}.png")
    (tmp_path / "broken.png").write_bytes(b"")
    images = ["0.png", None, "broken.png", "1.png", None, None, "2.png"]
    rows = [
        files.science(question="cat " * (1 + index), image=image)
        for index, image in enumerate(images)
    ]
    return files.save_lines(tmp_path / "q.jsonl", rows)


@every_model
def test_answers_do_not_depend_on_the_batch(name, path):
    model = tiny.tiny_vision_model(name)
    prepared = scienceqa.plugin.prepare("scienceqa", str(path), ScienceQAConfig(max_new_tokens=4))
    alone, together = (prepared.evaluate(model, Conditions(batch_size=size)) for size in (1, 7))
    assert alone.samples == together.samples
    assert alone.metrics == together.metrics
    assert [one.id for one in together.skipped] == ["2"]
    posed = {question.id: question for question in prepared.questions}
    for sample in together.samples:
        prompt = posed[sample.id].prompt(answered=False)
        assert chat.answer(model, [prompt], 4) == (sample.answer,)


def test_pictures_are_seen(path):
    model = tiny.tiny_vision_model("llava")
    prepared = scienceqa.plugin.prepare("scienceqa", str(path), ScienceQAConfig())
    seen = prepared.evaluate(model, Conditions()).samples[0].answer
    text = prepared.questions[0].text
    assert seen == chat.answer(model, [Prompt(text, (tiny.noise(0, 40, 32),))], 16)[0]
    assert seen != chat.answer(model, [Prompt(text)], 16)[0]


def test_reading(tmp_path):
    tiny.noise(0).save(tmp_path / "picture.png")
    rows = [files.reading(question_id=index) for index in range(3)]
    path = files.save_lines(tmp_path / "q.jsonl", rows)
    model = tiny.tiny_vision_model("llava")
    prepared = textvqa.plugin.prepare("textvqa", str(path), ReadingConfig(max_new_tokens=4))
    result = prepared.evaluate(model, Conditions())
    assert len({sample.answer for sample in result.samples}) == 1
    assert result.metrics[0].n == 3


def test_a_text_model_is_refused(path, subject):
    prepared = scienceqa.plugin.prepare("scienceqa", str(path), ScienceQAConfig())
    with pytest.raises(UsageError, match="tiny-llama reads text only"):
        prepared.evaluate(subject("llama"), Conditions())
