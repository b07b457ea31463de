"""What a vision-language model is asked, before any model has seen it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL.Image import Image


@dataclass(frozen=True)
class Prompt:
    """A user's turn: images in order, then the text; ``answer`` is the turn that follows it.

    Images are RGB. Prompts without an answer are to be answered.
    """

    text: str
    images: tuple[Image, ...] = ()
    answer: str | None = None


@dataclass(frozen=True)
class PromptSource:
    """Prompts with answers from a task's training split.

    ``prompts`` may open an image only when its item is asked for. ``fingerprint`` is the SHA-256
    of everything in them; ``revision`` the hub commit or package version they come from.
    """

    reference: str
    prompts: Sequence[Prompt]
    fingerprint: str
    revision: str | None = None
