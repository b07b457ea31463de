"""ScienceQA's questions: choices with letters, and the breakdown of its own evaluation.

Source: Lu et al., Learn to Explain: Multimodal Reasoning via Thought Chains for Science Question
Answering, https://arxiv.org/abs/2209.09513. Prompt, answer length and scoring are those of
lmms-eval's ``scienceqa``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

from tasks.questions.asking import Ending
from tasks.questions.intervals import wilson
from tasks.questions.letters import option_letter, parse_letter, parse_sentence
from tasks.questions.question import Question
from tasks.questions.results import Measure, metric_name
from tasks.questions.rows import Entry
from tasks.questions.task import Protocol, QuestionConfig

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


def multiple_choice(config: ChoiceConfig) -> Protocol:
    """Questions with lettered choices, right or wrong."""
    name = metric_name(
        "accuracy",
        prompt="direct",
        parse=config.parser,
        max_new_tokens=config.max_new_tokens,
    )
    return Protocol(
        pose=partial(_pose, parser=config.parser),
        measure=Measure(name, "correct", wilson, SLICES),
        ending=Ending(config.max_new_tokens),
    )


def _pose(entry: Entry, parser: str) -> Question:
    hint, question, choices = entry.text("hint"), entry.text("question"), entry.texts("choices")
    letter = option_letter(entry.index("answer", len(choices)))
    context = [f"Context: {hint}"] if hint else []
    options = [f"{option_letter(i)}. {choice}" for i, choice in enumerate(choices)]
    return Question(
        id=entry.id,
        name=entry.name,
        text="\n".join([*context, question, *options, INSTRUCTION]),
        picture=entry.picture(),
        answer=letter,
        score=partial(_score, letter=letter, parser=parser),
        slices=_slices(entry, hint),
    )


def _score(answer: str, letter: str, parser: str) -> float:
    return float(_PARSERS[parser](answer) == letter.lower())


def _slices(entry: Entry, hint: str) -> tuple[str, ...]:
    """Where a question belongs: at most one subject and grade, its text and image, or neither."""
    context = [*(["TXT"] if hint else []), *(["IMG"] if entry.picture() else [])]
    slices = context or ["NO"]
    for field, known in (("subject", SUBJECTS), ("grade", GRADES)):
        # Data without the field has no such breakdown; a value nobody knows is an error.
        if field in entry.source.columns:
            value = entry.text(field)
            if value not in known:
                raise entry.wrong(field, f"one of {', '.join(known)}")
            slices.append(known[value])
    return tuple(slices)
