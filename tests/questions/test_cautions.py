"""Answers that nobody can read, or that had no end, are counted."""

from __future__ import annotations

import pytest

from harness.models.generation import Written, write
from harness.questions.cautions import cautions
from harness.questions.multiple_choice import ChoiceConfig, multiple_choice
from harness.questions.rows import QuestionRows
from tests.helpers import question_files as files
from tests.helpers.tiny_vision_models import PROMPTS, tiny_vision_model


def pose(**options):
    row = files.science()
    rows = QuestionRows("mine", [row], frozenset(row), "f")
    return multiple_choice(ChoiceConfig(**options)).pose(rows.checked(0))


@pytest.mark.parametrize(("parser", "unread"), [("letter", 2), ("sentence", 1)])
def test_answers_in_which_the_rule_finds_nothing(parser, unread) -> None:
    said = ["A", "b", "The answer is A.", "neither"]
    question = pose(parser=parser)
    (found,) = cautions([(question, Written(text, ended=True)) for text in said])
    assert (found.kind, found.effect, found.count) == ("answers not read", "advice", unread)
    assert found.text == f"{unread} of 4 answers in which the task's rule found nothing"


def test_answers_without_an_end() -> None:
    question = pose()
    answered = [(question, Written("A", ended=ended)) for ended in (True, False, False)]
    (found,) = cautions(answered)
    assert (found.kind, found.effect, found.count) == ("answers ended by length", "advice", 2)


def test_nothing_is_said_of_good_answers() -> None:
    assert not list(cautions([(pose(), Written("A", ended=True))]))


def test_an_answer_ends_with_a_stop_token_or_a_stop_text(one_thread) -> None:
    subject = tiny_vision_model("qwen2_vl")
    config = subject.model.generation_config
    config.eos_token_id = None
    subject.tokenizer.eos_token = None
    (long,) = write(subject, PROMPTS[:1], 4)
    assert not long.ended
    (stopped,) = write(subject, PROMPTS[:1], 4, stop=[long.text[:1]])
    assert (stopped.text, stopped.ended) == ("", True)
    config.eos_token_id = list(range(subject.model.get_input_embeddings().num_embeddings))
    assert write(subject, PROMPTS[:1], 4)[0].ended
