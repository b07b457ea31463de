"""ScienceQA's questions: choices with letters, and the breakdown of its own evaluation.

Source: Lu et al., Learn to Explain: Multimodal Reasoning via Thought Chains for Science Question
Answering, https://arxiv.org/abs/2209.09513. Prompt, answer length and scoring are those of
lmms-eval's ``scienceqa``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

from harness.questions.asking import Ending
from harness.questions.intervals import wilson
from harness.questions.letters import option_letter, parse_letter, parse_sentence
from harness.questions.question import Question
from harness.questions.results import Measure, metric_name
from harness.questions.rows import CheckedRow
from harness.questions.task import QuestionConfig, QuestionProtocol

INSTRUCTION = "Answer with the option's letter from the given choices directly."
SUBJECTS = {"natural science": "NAT", "social science": "SOC", "language science": "LAN"}
GRADES = {f"grade{grade}": "G1-6" if grade <= 6 else "G7-12" for grade in range(1, 13)}
SLICES = ("NAT", "SOC", "LAN", "TXT", "IMG", "NO", "G1-6", "G7-12")

_PARSERS = {"letter": parse_letter, "sentence": parse_sentence}


@dataclass(frozen=True)
class ChoiceConfig(QuestionConfig):
    """Options of questions with lettered choices.

    Attributes:
        parser: how the letter is found in an answer: as lmms-eval does (letter), or as LLaVA does
            (sentence).
    """

    parser: Literal["letter", "sentence"] = "letter"


def multiple_choice(config: ChoiceConfig) -> QuestionProtocol:
    """Questions with lettered choices, right or wrong."""
    name = metric_name(
        "accuracy",
        prompt="direct",
        parse=config.parser,
        max_new_tokens=config.max_new_tokens,
    )
    return QuestionProtocol(
        pose=partial(_pose, parser=config.parser),
        measure=Measure(name, "correct", wilson, SLICES),
        ending=Ending(config.max_new_tokens),
    )


def _pose(row: CheckedRow, parser: str) -> Question:
    hint, question, choices = row.text("hint"), row.text("question"), row.texts("choices")
    letter = option_letter(row.index("answer", len(choices)))
    context = [f"Context: {hint}"] if hint else []
    options = [f"{option_letter(i)}. {choice}" for i, choice in enumerate(choices)]
    return Question(
        id=row.id,
        name=row.name,
        text="\n".join([*context, question, *options, INSTRUCTION]),
        picture=row.picture(),
        answer=letter,
        score=partial(_score, letter=letter, parser=parser),
        slices=_slices(row, hint),
        reads=partial(_reads, parser=parser),
    )


def _score(answer: str, letter: str, parser: str) -> float:
    return float(_PARSERS[parser](answer) == letter.lower())


def _reads(answer: str, parser: str) -> bool:
    return _PARSERS[parser](answer) is not None


def _slices(row: CheckedRow, hint: str) -> tuple[str, ...]:
    """Where a question belongs: at most one subject and grade, its text and image, or neither."""
    context = [*(["TXT"] if hint else []), *(["IMG"] if row.picture() else [])]
    slices = context or ["NO"]
    for field, known in (("subject", SUBJECTS), ("grade", GRADES)):
        # Data without the field has no such breakdown; a value nobody knows is an error.
        if field in row.source.columns:
            value = row.text(field)
            if value not in known:
                raise row.wrong(field, f"one of {', '.join(known)}")
            slices.append(known[value])
    return tuple(slices)
