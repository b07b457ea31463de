"""mini-textvqa: reading pseudo-words written into pictures, in the schema of TextVQA.

One word, or two words one above the other in different colours, letters in the cells of a 4 x 4
grid; the question asks for the word, the upper or lower one, or the one of a colour. Which split a
word belongs to is decided by its letters (``split_of``), so no word of the test is ever seen in
training.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from PIL import Image

from harness.datasets.deterministic import Split, seeded_random, split_of
from harness.datasets.drawing import SIDE, blank, draw_word
from harness.datasets.words import pseudo_word

SIZES: dict[Split, int] = {"train": 1_000_000, "validation": 500, "test": 500}
ANSWERS = 10
# Single letters and syllables are where a model starts to read.
LENGTHS: dict[Split, tuple[int, ...]] = {
    "train": (1, 2, 3, 4),
    "validation": (3, 4),
    "test": (3, 4),
}
INKS = ("black", "blue", "red")
CELL = 16
COLUMNS = SIDE // CELL


@dataclass(frozen=True)
class Line:
    """A word and the cell of its first letter."""

    word: str
    ink: str
    row: int
    column: int


def lines(rng: Random, split: Split) -> list[Line]:
    """One line of writing, or two from top to bottom in different colours."""
    words = [_word(rng, split) for _ in range(rng.choice((1, 2)))]
    inks = rng.sample(INKS, len(words))
    placed = []
    for index, (word, ink) in enumerate(zip(words, inks, strict=True)):
        row = 2 * index + rng.randrange(2) if len(words) == 2 else rng.randrange(4)
        placed.append(Line(word, ink, row, rng.randrange(COLUMNS - len(word) + 1)))
    return placed


def draw_lines(rng: Random, placed: list[Line]) -> Image.Image:
    """A picture of ``placed``, each line a little off its cells."""
    picture = blank()
    for line in placed:
        corner = (
            CELL * line.column + 1 + rng.randint(0, 1),
            CELL * line.row + rng.randint(0, 1),
        )
        draw_word(picture, line.word, line.ink, corner, CELL)
    return picture


def question(split: Split, index: int) -> dict[str, Any]:
    """Question ``index`` of ``split``; any index from 0 will do."""
    rng = seeded_random("mini-textvqa", split, index)
    placed = lines(rng, split)
    target = rng.randrange(len(placed))
    return {
        "image_id": f"{split}-{index}",
        "question_id": index,
        "question": _question(rng, target, [line.ink for line in placed]),
        "image": draw_lines(rng, placed),
        "image_width": SIDE,
        "image_height": SIDE,
        "ocr_tokens": [line.word for line in placed],
        "answers": [placed[target].word] * ANSWERS,
    }


def _word(rng: Random, split: Split) -> str:
    while True:
        word = pseudo_word(rng, rng.choice(LENGTHS[split])).upper()
        if split_of(word) == split:
            return word


def _question(rng: Random, target: int, colours: list[str]) -> str:
    if len(colours) == 1:
        return rng.choice(("what is the word?", "what is written here?"))
    if rng.random() < 0.5:
        return f"what is the {colours[target]} word?"
    return f"what is the {('upper', 'lower')[target]} word?"
