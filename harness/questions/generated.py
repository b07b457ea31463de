"""Questions from a generator of our own, drawn when they are asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Literal

from PIL import Image

from harness.assets.kinds import Purpose
from harness.questions.computed_sequence import ComputedSequence
from harness.questions.pictures import Picture
from harness.questions.rows import IMAGE, QuestionRows, Row
from harness.questions.source import OwnQuestions
from harness.records.document import digest

Split = Literal["train", "validation", "test"]
Draw = Callable[[Split, int], dict[str, Any]]

TRAINING_QUESTIONS = 2000
"""How many of the endless training questions calibration may choose from."""


def generated(name: str, draw: Draw, tests: int) -> OwnQuestions:
    """The questions of a generator: ``tests`` to evaluate, 2000 others to calibrate.

    Args:
        name: what the data is called.
        draw: gives question ``index`` of a split, the same at each call, under ``image`` a
            picture or None.
        tests: how many questions are evaluated.
    """

    def read(purpose: Purpose) -> QuestionRows:
        if purpose == "calibration":
            rows = _rows(name, draw, "train", TRAINING_QUESTIONS)
        else:
            rows = _rows(name, draw, "test", tests)
        return QuestionRows(name, rows, frozenset(rows[0]), _fingerprint(rows))

    return OwnQuestions(read)


def _rows(name: str, draw: Draw, split: Split, count: int) -> Sequence[Row]:
    def row(index: int) -> Row:
        drawn = draw(split, index)
        # Drawn again when it is shown, so that no picture stays in memory.
        picture = Picture(f"{split} picture {index} of {name}", lambda: draw(split, index)[IMAGE])
        return {**drawn, IMAGE: None if drawn[IMAGE] is None else picture}

    return ComputedSequence(count, row)


def _fingerprint(rows: Sequence[Row]) -> str:
    """SHA-256 of every field and pixel."""
    total = hashlib.sha256()
    for row in rows:
        picture: Picture | None = row[IMAGE]
        total.update(digest({**row, IMAGE: _pixels(picture.open()) if picture else None}).encode())
    return total.hexdigest()


def _pixels(image: Image.Image) -> str:
    return f"{image.size} {hashlib.sha256(image.tobytes()).hexdigest()}"
