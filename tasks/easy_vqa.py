"""easy-VQA: questions about pictures of one shape each; comes with a package, needs no hub.

Source: Victor Zhou, https://github.com/vzhou842/easy-VQA.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from pydantic import Field

from harness.assets.kinds import Purpose
from harness.assets.pins import ARCHIVES, EASY_VQA
from harness.datasets import easy_vqa
from harness.plugin import (
    Advice,
    CheckedRow,
    Ending,
    Measure,
    OwnQuestions,
    Picture,
    Question,
    QuestionConfig,
    QuestionProtocol,
    QuestionRows,
    QuestionTask,
    metric_name,
    wilson,
)
from harness.questions.computed_sequence import ComputedSequence
from harness.questions.normalized_answer import normalized_answer
from harness.questions.rows import IMAGE, Row
from harness.questions.short_answer import INSTRUCTION
from harness.records.document import digest


@dataclass(frozen=True)
class EasyVQAConfig(QuestionConfig):
    """Options of ``easy-vqa``.

    Attributes:
        questions: how many of the test split's 9,673 are asked, a fixed random choice.
    """

    questions: Annotated[
        int,
        Field(ge=1, le=1_000_000_000),
        Advice("{} questions measure nothing; pass --questions 1000"),
    ] = 1000


def _read(purpose: Purpose) -> QuestionRows:
    split: easy_vqa.Split = "train" if purpose == "calibration" else "test"
    examples = easy_vqa.rows(split)

    def row(index: int) -> Row:
        example = examples[index]
        picture = Picture(
            f"picture {example.image_id} of {EASY_VQA}", lambda: examples[index].image
        )
        return {"question": example.question, "answer": example.answer, IMAGE: picture}

    return QuestionRows(
        reference="easy-vqa",
        rows=ComputedSequence(len(examples), row),
        columns=frozenset(("question", "answer", IMAGE)),
        fingerprint=digest([ARCHIVES[EASY_VQA], split]),
        revision=EASY_VQA,
    )


def _protocol(config: EasyVQAConfig) -> QuestionProtocol:
    name = metric_name(
        "accuracy", prompt="short", parse="processed", max_new_tokens=config.max_new_tokens
    )
    return QuestionProtocol(
        pose=_pose,
        measure=Measure(name, "correct", wilson),
        ending=Ending(config.max_new_tokens),
        choose=partial(_choose, count=config.questions),
    )


def _pose(row: CheckedRow) -> Question:
    answer = row.text("answer")
    return Question(
        id=row.id,
        name=row.name,
        text=f"{row.text('question')}\n{INSTRUCTION}",
        picture=row.required_picture(),
        answer=answer,
        score=lambda said: float(normalized_answer(said) == normalized_answer(answer)),
    )


def _choose(questions: Sequence[Question], count: int) -> list[Question]:
    """A choice that larger ones contain, in the order of the data."""
    order = list(range(len(questions)))
    random.Random(0).shuffle(order)  # noqa: S311
    return [questions[index] for index in sorted(order[:count])]


plugin = QuestionTask(
    summary="accuracy on a choice of easy-VQA's questions about shapes; needs no hub",
    config=EasyVQAConfig,
    source=lambda _: OwnQuestions(_read),
    protocol=_protocol,
)
