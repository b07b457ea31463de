"""easy-VQA: 48,248 questions about 5,000 pictures of one shape each, a real public dataset.

By Victor Zhou, MIT licence, https://github.com/vzhou842/easy-VQA; read from its wheel on PyPI.
Answers are one of the thirteen words ``yes``, ``no``, three shapes and eight
colours; pictures are 64 x 64.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal, overload

from PIL import Image

from harness.assets.archives import fetch_archive
from harness.assets.pins import EASY_VQA

Split = Literal["train", "test"]
FOLDER = "easy_vqa/data/"
_HELD_OUT = 20


@dataclass(frozen=True)
class Row:
    """One question; ``id`` is its position in its split."""

    id: int
    question: str
    answer: str
    image_id: int
    archive: Path
    split: Split

    @cached_property
    def image(self) -> Image.Image:
        """The RGB picture, read when first asked for."""
        data = _open(self.archive).read(f"{FOLDER}{self.split}/images/{self.image_id}.png")
        return Image.open(io.BytesIO(data)).convert("RGB")


class Rows(Sequence[Row]):
    """The questions of one split, in the dataset's order."""

    def __init__(self, archive: Path, split: Split) -> None:
        self._archive = archive
        self._split = split
        entries = _open(archive).read(f"{FOLDER}{split}/questions.json")
        self._entries: list[tuple[str, str, int]] = json.loads(entries)

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...

    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        question, answer, image_id = self._entries[index]
        return Row(index, question, answer, image_id, self._archive, self._split)


def rows(split: Split) -> Rows:
    """The questions of a split: 38,575 in ``train``, 9,673 in ``test``.

    Raises:
        AssetError: the wheel cannot be fetched, or is not the one we know.
    """
    return Rows(fetch_archive(EASY_VQA, FOLDER, "leave easy-vqa out"), split)


def training() -> list[Row]:
    """The training split but for the pictures of ``validation``."""
    return [row for row in rows("train") if row.image_id % _HELD_OUT]


def validation() -> list[Row]:
    """The questions of the training split about every twentieth of its pictures."""
    return [row for row in rows("train") if row.image_id % _HELD_OUT == 0]


@lru_cache(maxsize=2)
def _open(archive: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(archive)
