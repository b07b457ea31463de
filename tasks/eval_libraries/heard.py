"""What libraries say while they work, by log or as Python warnings."""

from __future__ import annotations

import logging
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SPEAKERS = ("lm_eval", "lmms_eval", "datasets", "transformers", "tokenizers", "huggingface_hub")


@dataclass
class Heard:
    """Messages, each counted under who said it and what was said first, numbers aside."""

    said: Counter[tuple[str, str]] = field(default_factory=Counter)
    _first: dict[tuple[str, str], str] = field(default_factory=dict)

    def hear(self, speaker: str, message: object) -> None:
        """Take in one message."""
        text = " ".join(str(message).split())
        alike = (speaker, re.sub(r"\d+", "#", text))
        self.said[speaker, self._first.setdefault(alike, text)] += 1

    def warned(self, message: object, category: type[Warning], filename: str) -> bool:
        """Take in a Python warning, if it is of one of the libraries; whether it was."""
        speaker = next((name for name in SPEAKERS if name in Path(filename).parts), None)
        if speaker and issubclass(category, (UserWarning, RuntimeWarning)):
            self.hear(speaker, message)
        return speaker is not None


class Ear(logging.Handler):
    """Hears what is logged."""

    def __init__(self, speaker: str, heard: Heard) -> None:
        super().__init__(logging.WARNING)
        self.speaker, self.heard = speaker, heard

    def emit(self, record: logging.LogRecord) -> None:
        """Take in a record."""
        self.heard.hear(self.speaker, record.getMessage())


@contextmanager
def listening() -> Iterator[Heard]:
    """Hear all warnings of the libraries for a while."""
    heard = Heard()
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        # Without this the second warning from a place would not be heard.
        theirs = rf"({'|'.join(SPEAKERS)})\b"
        warnings.filterwarnings("always", category=UserWarning, module=theirs)
        warnings.showwarning = _instead_of(warnings.showwarning, heard)
        for name in SPEAKERS:
            stack.enter_context(_with(logging.getLogger(name), Ear(name, heard)))
        yield heard


def _instead_of(show: Callable[..., None], heard: Heard) -> Any:
    def show_others(message: Any, category: Any, filename: str, *rest: Any, **named: Any) -> None:
        if not heard.warned(message, category, filename):
            show(message, category, filename, *rest, **named)

    return show_others


@contextmanager
def _with(logger: logging.Logger, ear: Ear) -> Iterator[None]:
    level = logger.level
    logger.addHandler(ear)
    if logger.getEffectiveLevel() > logging.WARNING:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.removeHandler(ear)
        logger.setLevel(level)
