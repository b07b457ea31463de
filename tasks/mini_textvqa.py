"""mini-textvqa: generated words in pictures, in the form of TextVQA; needs no hub."""

from __future__ import annotations

from harness.datasets import mini_textvqa
from harness.plugin import QuestionTask, ReadingConfig, reading
from harness.questions.generated import generated

_SOURCE = generated("mini-textvqa", mini_textvqa.question, mini_textvqa.SIZES["test"])

plugin = QuestionTask(
    summary="VQA accuracy on generated words in pictures, in the form of TextVQA; needs no hub",
    config=ReadingConfig,
    source=lambda _: _SOURCE,
    protocol=reading,
)
