"""mini-textvqa: generated words in pictures, in the form of TextVQA; needs no hub."""

from __future__ import annotations

from harness.datasets import mini_textvqa
from tasks.questions.generated import generated
from tasks.questions.short_answer import ReadingConfig, reading
from tasks.questions.task import QuestionTask

_SOURCE = generated("mini-textvqa", mini_textvqa.question, mini_textvqa.SIZES["test"])

plugin = QuestionTask(
    summary="VQA accuracy on generated words in pictures, in the form of TextVQA; needs no hub",
    config=ReadingConfig,
    source=lambda _: _SOURCE,
    protocol=reading,
)
