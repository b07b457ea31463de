"""One question as a task puts it: prompt, picture, how to score an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.models.prompt import Prompt
from harness.questions.pictures import Picture


@dataclass(frozen=True)
class Question:
    """A question ready to be asked.

    Attributes:
        id: stable name within the data.
        name: the question as errors call it.
        text: the prompt without its image.
        picture: what it is about, None for a question in words only.
        answer: what a good model says; shown in training only.
        score: from 0 to 1, of a model's answer.
        slices: the parts of the data that it belongs to.
        reads: whether the task's rule finds what it looks for in a model's answer.
    """

    id: str
    name: str
    text: str
    picture: Picture | None
    answer: str
    score: Callable[[str], float]
    slices: tuple[str, ...] = ()
    reads: Callable[[str], bool] = bool

    def prompt(self, *, answered: bool) -> Prompt:
        """The prompt with its image opened, and the answer if ``answered``.

        Raises:
            UnreadableImageError: the image cannot be shown.
        """
        images = (self.picture.open(),) if self.picture else ()
        return Prompt(self.text, images, self.answer if answered else None)
