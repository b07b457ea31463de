"""Questions answered by a word or phrase: TextVQA's and those like them.

Source: Singh et al., Towards VQA Models That Can Read, https://arxiv.org/abs/1904.08920. Prompt
and scoring are those of lmms-eval's ``textvqa``, which leaves the length of an answer open.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial

from harness.questions.asking import Ending
from harness.questions.intervals import normal
from harness.questions.question import Question
from harness.questions.results import Measure, metric_name
from harness.questions.rows import CheckedRow
from harness.questions.task import QuestionConfig, QuestionProtocol
from harness.questions.vqa_accuracy import vqa_accuracy

INSTRUCTION = "Answer the question using a single word or phrase."
NEXT_TURN = "ASSISTANT:"
"""Where lmms-eval's ``textvqa`` cuts an answer."""


@dataclass(frozen=True)
class ReadingConfig(QuestionConfig):
    """Options of questions about text in pictures.

    Attributes:
        ocr: whether the prompt holds the words that a text recogniser found in the picture.
    """

    ocr: bool = False


def reading(config: ReadingConfig) -> QuestionProtocol:
    """Questions about text in pictures, scored by agreement with ten people."""
    name = metric_name(
        "vqa_accuracy",
        prompt="short",
        ocr="on" if config.ocr else "off",
        max_new_tokens=config.max_new_tokens,
    )
    return QuestionProtocol(
        pose=partial(_pose, ocr=config.ocr),
        measure=Measure(name, "score", normal),
        ending=Ending(config.max_new_tokens, (NEXT_TURN,)),
    )


def _pose(row: CheckedRow, *, ocr: bool) -> Question:
    people = row.texts("answers")
    question = row.text("question").capitalize()
    if ocr:
        question += f"\nReference OCR token: {', '.join(row.texts('ocr_tokens', least=0))}"
    return Question(
        id=row.id,
        name=row.name,
        text=f"{question}\n{INSTRUCTION}",
        picture=row.required_picture(),
        answer=Counter(people).most_common(1)[0][0],
        score=partial(vqa_accuracy, people=people),
    )
