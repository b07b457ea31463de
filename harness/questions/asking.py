"""Asking a model questions in order, a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.errors import AssetError
from harness.models.generation import Written, write
from harness.models.language_model import LanguageModel
from harness.models.prompt import Prompt
from harness.questions.pictures import UnreadableImageError
from harness.questions.question import Question
from harness.records.results import Skipped
from harness.support.progress import Tracker

Answered = list[tuple[Question, Written]]


@dataclass(frozen=True)
class Ending:
    """Where an answer ends that does not end by itself: a length, and texts it stops before."""

    max_new_tokens: int
    stop: tuple[str, ...] = ()


def ask(
    subject: LanguageModel,
    questions: Sequence[Question],
    ending: Ending,
    batch_size: int,
    track: Tracker,
) -> tuple[Answered, list[Skipped]]:
    """Answers in order, and the questions whose image cannot be shown.

    Only the images of one batch are in memory.

    Raises:
        NonFiniteError: the model gives NaN.
        AssetError: not one image can be shown.
    """
    answered: Answered = []
    skipped: list[Skipped] = []
    batches = [questions[at : at + batch_size] for at in range(0, len(questions), batch_size)]
    for batch in track(batches, "questions", len(batches)):
        shown, prompts = _open(batch, skipped)
        if prompts:
            answers = write(subject, prompts, ending.max_new_tokens, ending.stop)
            answered += zip(shown, answers, strict=True)
    if not answered:
        raise AssetError(
            f"none of the {len(questions)} questions can be shown; {skipped[0].reason}"
        )
    return answered, skipped


def _open(batch: Sequence[Question], skipped: list[Skipped]) -> tuple[list[Question], list[Prompt]]:
    shown: list[Question] = []
    prompts: list[Prompt] = []
    for question in batch:
        try:
            prompts.append(question.prompt(answered=False))
        except UnreadableImageError as error:
            skipped.append(Skipped(id=question.id, reason=f"{question.name}: {error}"))
        else:
            shown.append(question)
    return shown, prompts
