"""The task behind every set of questions about pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from pydantic import Field

from harness.assets.kinds import Purpose
from harness.errors import AssetError, UsageError
from harness.evaluation.batch_size import largest_fitting_batch
from harness.evaluation.task import Conditions
from harness.models.generation import require_sight
from harness.models.language_model import LanguageModel
from harness.models.prompt import Prompt, PromptSource
from harness.plugins.ranges import Advice, require_in_range
from harness.questions.asking import Ending, ask
from harness.questions.cautions import cautions
from harness.questions.computed_sequence import ComputedSequence
from harness.questions.pictures import UnreadableImageError
from harness.questions.question import Question
from harness.questions.results import Measure
from harness.questions.rows import CheckedRow, QuestionRows
from harness.questions.source import Read
from harness.records.record import DataFacts
from harness.records.results import Sample, TaskResult


@dataclass(frozen=True)
class QuestionConfig:
    """Options of every set of questions.

    Attributes:
        max_new_tokens: number of tokens at which an answer ends that does not end by itself.
    """

    max_new_tokens: Annotated[
        int,
        Field(ge=1, le=1_000_000),
        Advice("an answer of {} tokens says nothing; pass --max-new-tokens 16"),
    ] = 16

    def __post_init__(self) -> None:
        require_in_range(self)


C = TypeVar("C", bound=QuestionConfig)


def everything(questions: Sequence[Question]) -> Sequence[Question]:
    """All questions."""
    return questions


@dataclass(frozen=True)
class QuestionProtocol:
    """How questions are put and scored under one set of options.

    ``pose`` makes a row a question; ``choose`` keeps those that are evaluated; ``ending`` is
    where answers end.
    """

    pose: Callable[[CheckedRow], Question]
    measure: Measure
    ending: Ending
    choose: Callable[[Sequence[Question]], Sequence[Question]] = everything


@dataclass(frozen=True)
class QuestionTask(Generic[C]):
    """Questions about pictures, each answered in a few words.

    Attributes:
        summary: one line for lists.
        config: the task's options.
        source: where the questions come from under these options.
        protocol: how they are put and scored under these options.
    """

    summary: str
    config: type[C]
    source: Callable[[C], Read]
    protocol: Callable[[C], QuestionProtocol]

    def prepare(self, name: str, data: str | None, config: C) -> PreparedQuestions:
        """Fetch the questions and check every one; see ``harness.evaluation.task.Task``."""
        source = _read(self.source(config), name, data, "evaluation")
        protocol = self.protocol(config)
        posed = [protocol.pose(source.checked(index)) for index in range(len(source.rows))]
        _require_different(posed, source.reference)
        chosen = tuple(protocol.choose(posed))
        if not chosen:
            raise UsageError(f"{source.reference} holds no question that {name} asks")
        return PreparedQuestions(
            data=DataFacts(
                reference=source.reference, fingerprint=source.fingerprint, revision=source.revision
            ),
            questions=chosen,
            measure=protocol.measure,
            ending=protocol.ending,
        )

    def training(self, name: str, data: str | None) -> PromptSource:
        """The training split with answers; see ``harness.evaluation.task.Trained``.

        A question is read, and its image opened, when it is asked for. An image that cannot be
        opened then raises ``AssetError``.
        """
        config = self.config()
        source = _read(self.source(config), name, data, "calibration")
        pose = self.protocol(config).pose
        return PromptSource(
            reference=source.reference,
            prompts=ComputedSequence(
                len(source.rows), lambda index: _shown(pose(source.checked(index)))
            ),
            fingerprint=source.fingerprint,
            revision=source.revision,
        )


@dataclass(frozen=True)
class PreparedQuestions:
    """Questions at hand."""

    data: DataFacts
    questions: tuple[Question, ...]
    measure: Measure
    ending: Ending

    def evaluate(self, subject: LanguageModel, conditions: Conditions) -> TaskResult:
        """Ask ``subject`` every question; see ``harness.evaluation.task.PreparedTask``.

        Raises:
            UsageError: the model reads text only.
            AssetError: no image can be shown.
        """
        require_sight(subject)
        asked = self.questions[: conditions.limit]
        (answered, skipped), batch_size = largest_fitting_batch(
            lambda size: ask(subject, asked, self.ending, size, conditions.track),
            conditions.batch_size,
        )
        scores = [question.score(answer.text) for question, answer in answered]
        samples = tuple(
            Sample(
                id=question.id,
                values={self.measure.value: score},
                answer=answer.text,
                slices=tuple(part for part in self.measure.slices if part in question.slices),
            )
            for (question, answer), score in zip(answered, scores, strict=True)
        )
        return TaskResult(
            metrics=self.measure.metrics([question for question, _ in answered], scores),
            samples=samples,
            batch_size=batch_size,
            skipped=tuple(skipped),
            cautions=tuple(cautions(answered)),
        )


def _read(read: Read, name: str, data: str | None, purpose: Purpose) -> QuestionRows:
    source = read(name, data, purpose)
    if not source.rows:
        raise UsageError(f"{source.reference} is empty: it holds no questions")
    return source


def _require_different(questions: Sequence[Question], reference: str) -> None:
    seen: set[str] = set()
    for question in questions:
        if question.id in seen:
            raise UsageError(
                f"{reference} holds two questions with the id {question.id}; give each its own"
            )
        seen.add(question.id)


def _shown(question: Question) -> Prompt:
    try:
        return question.prompt(answered=True)
    except UnreadableImageError as error:
        raise AssetError(f"{question.name}: {error}; copy the data again") from error
