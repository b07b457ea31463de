"""mini-scienceqa: generated questions in the form of ScienceQA; needs no hub."""

from __future__ import annotations

from harness.datasets import mini_scienceqa
from harness.plugin import ChoiceConfig, QuestionTask, multiple_choice
from harness.questions.generated import generated

_SOURCE = generated("mini-scienceqa", mini_scienceqa.question, mini_scienceqa.SIZES["test"])

plugin = QuestionTask(
    summary="accuracy on small generated questions in the form of ScienceQA; needs no hub",
    config=ChoiceConfig,
    source=lambda _: _SOURCE,
    protocol=multiple_choice,
)
