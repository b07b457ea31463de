"""ScienceQA: science questions from school, about half of them with a picture.

Source: Lu et al., https://arxiv.org/abs/2209.09513.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from harness.plugin import (
    ChoiceConfig,
    HubQuestions,
    HubText,
    Question,
    QuestionProtocol,
    QuestionTask,
    multiple_choice,
)

_CONFIGS = {"full": "ScienceQA-FULL", "image": "ScienceQA-IMG"}


@dataclass(frozen=True)
class ScienceQAConfig(ChoiceConfig):
    """Options of ``scienceqa``.

    Attributes:
        subset: all questions (full), or those with a picture only (image).
    """

    subset: Literal["full", "image"] = "full"


def _source(config: ScienceQAConfig) -> HubQuestions:
    return HubQuestions(
        HubText(
            "lmms-lab/ScienceQA",
            splits={"calibration": "train", "evaluation": "test"},
            config=_CONFIGS[config.subset],
        )
    )


def _protocol(config: ScienceQAConfig) -> QuestionProtocol:
    everything = multiple_choice(config)
    return everything if config.subset == "full" else replace(everything, choose=_with_picture)


def _with_picture(questions: Sequence[Question]) -> list[Question]:
    return [question for question in questions if question.picture]


plugin = QuestionTask(
    summary="accuracy on ScienceQA's test split, by subject, context and grade",
    config=ScienceQAConfig,
    source=_source,
    protocol=_protocol,
)
