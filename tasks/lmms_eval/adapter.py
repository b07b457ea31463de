"""A model in memory as lmms-eval wants to see it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stderr
from itertools import groupby
from pathlib import Path
from typing import Any

from lmms_eval.api.model import lmms
from PIL import Image

from harness.models.generation import write
from harness.plugin import AssetError, HarnessError, LanguageModel, Prompt, UsageError
from harness.support.out_of_memory import out_of_memory
from harness.support.progress import Tracker
from tasks.lmms_eval.settings import Settings

IMAGE_FILES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


class InMemory(lmms):  # type: ignore[misc]
    """Answers by ``models.generation``: every question with its own images and no other's.

    Attributes:
        answers, unended: how many were written, and how many their greatest length ended.
        imageless: task and document of prompts that mark more images than are shown.
    """

    is_simple = True
    accelerator = None

    def __init__(
        self,
        subject: LanguageModel,
        settings: Mapping[str, Settings],
        batch_size: int,
        track: Tracker,
    ) -> None:
        super().__init__()
        self.subject = subject
        self.settings = settings
        self.batch_size = batch_size
        self.track = track
        self.terminal = sys.stderr
        self.unended = self.answers = 0
        self.imageless: set[tuple[str, int]] = set()

    def clean(self) -> None:
        """Keep the model; lmms-eval would drop every module after the answers."""

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Answers to ``requests`` in their order."""
        batches = list(self._batches(requests))
        answers: list[str] = []
        with redirect_stderr(self.terminal):
            for batch in self.track(batches, "answers", len(batches)):
                settings = self.settings[batch[0].task_name]
                written = write(
                    self.subject,
                    [self._prompt(request) for request in batch],
                    settings.max_new_tokens,
                    settings.stop,
                    **settings.options,
                )
                self.answers += len(written)
                self.unended += sum(not answer.ended for answer in written)
                answers += [answer.text for answer in written]
        return answers

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Not supported."""
        raise _unsupported(requests[0].task_name, "scores given answers (loglikelihood)")

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """Not supported."""
        raise _unsupported(requests[0].task_name, "asks in several rounds")

    def _batches(self, requests: Sequence[Any]) -> Iterator[list[Any]]:
        for name, group in groupby(requests, lambda request: request.task_name):
            together = list(group)
            # What is drawn for one question must not depend on the others in its batch.
            size = 1 if self.settings[name].sampled else self.batch_size
            for start in range(0, len(together), size):
                yield together[start : start + size]

    def _prompt(self, request: Any) -> Prompt:
        text, _, doc_to_visual, document, task, split = request.args
        try:
            shown = doc_to_visual(self.task_dict[task][split][document]) or ()
            images = tuple(_image(visual, task) for visual in shown)
        # Tasks open images in their own ways, which may raise anything.
        except Exception as error:
            if isinstance(error, HarnessError) or out_of_memory(error):
                raise
            raise AssetError(
                f"document {document} of lmms-eval task '{task}' cannot be shown: "
                f"{type(error).__name__}: {error}; fetch or copy its data again"
            ) from error
        if len(images) < text.count("<image>"):
            self.imageless.add((task, document))
        # Where a task marks the places of its images; ours come before the text.
        return Prompt(text.replace("<image>", ""), images)


def _image(shown: Any, task: str) -> Image.Image:
    if isinstance(shown, str | Path) and Path(shown).suffix.lower() in IMAGE_FILES:
        shown = Image.open(shown)
    if not isinstance(shown, Image.Image):
        raise _unsupported(task, f"shows a {type(shown).__name__} that is no image")
    return shown if shown.mode == "RGB" else shown.convert("RGB")


def _unsupported(task: str, what: str) -> UsageError:
    return UsageError(
        f"lmms-eval task '{task}' {what}; supported are tasks with images and written answers"
    )
