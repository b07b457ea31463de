"""What libraries say while they work, by log or as Python warnings."""

from __future__ import annotations

import logging
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

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

    def warned(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        _line: int,
        _file: TextIO | None = None,
        _source: str | None = None,
    ) -> None:
        """Take in a Python warning; stands in for ``warnings.showwarning``."""
        speaker = next((name for name in SPEAKERS if name in Path(filename).parts), None)
        if speaker and issubclass(category, (UserWarning, RuntimeWarning)):
            self.hear(speaker, message)


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
    """Hear all warnings of the libraries for a while; nothing is kept from anybody else."""
    heard = Heard()
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("always", UserWarning)
        shown: Any = heard.warned
        warnings.showwarning = shown
        for name in SPEAKERS:
            stack.enter_context(_with(logging.getLogger(name), Ear(name, heard)))
        yield heard


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
