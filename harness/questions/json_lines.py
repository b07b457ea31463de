"""Questions as JSON lines, with images in files beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from harness.errors import AssetError, UsageError
from harness.questions.computed_sequence import ComputedSequence
from harness.questions.pictures import Picture, decoded
from harness.questions.rows import ID, IMAGE, QuestionRows, Row
from harness.records.document import digest
from harness.support.hashing import content_sha256
from harness.support.json_rows import json_rows
from harness.support.regular_files import require_regular


def read_json_lines(path: Path, reference: str) -> QuestionRows:
    """The questions of a file, one JSON object a line.

    ``image`` is a path that starts at the file's folder, or null for none.

    Raises:
        UsageError: a line is no such object, or none of the images is where it should be.
        AssetError: the file cannot be read.
    """
    rows = _objects(path)
    _require_images(path, rows)
    return QuestionRows(
        reference=reference,
        rows=ComputedSequence(len(rows), lambda index: _with_picture(rows[index], path.parent)),
        columns=frozenset(field for row in rows for field in row),
        fingerprint=_fingerprint(path, rows),
    )


def _objects(path: Path) -> list[dict[str, Any]]:
    rows = []
    require_regular(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 (byte {error.start}); convert it first") from error
    except OSError as error:
        raise AssetError(f"{path} cannot be read ({error}); fetch or copy it again") from error
    for number, row in json_rows(text, path):
        if not isinstance(row, dict):
            raise UsageError(f"line {number} of {path} is no JSON object")
        if not isinstance(row.get(IMAGE), str | None):
            raise UsageError(
                f"line {number} of {path}: 'image' must be a path or null, not {row[IMAGE]!r}"
            )
        rows.append(row)
    return rows


def _with_picture(row: dict[str, Any], folder: Path) -> Row:
    if row.get(IMAGE) is None:
        return row
    file = folder / row[IMAGE]
    return {**row, IMAGE: Picture(str(file), partial(_load, file))}


def _load(file: Path) -> Image.Image:
    return decoded(file.read_bytes())


def _files(rows: Sequence[dict[str, Any]]) -> list[tuple[int, str]]:
    """Index and path of every image."""
    return [(index, row[IMAGE]) for index, row in enumerate(rows) if row.get(IMAGE) is not None]


def _require_images(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    files = _files(rows)
    if files and not any((path.parent / file).is_file() for _, file in files):
        index, file = files[0]
        name = rows[index].get(ID, index)
        raise UsageError(
            f"none of the images of {path} is there: question {name} needs "
            f"{path.parent / file}; put the image folder beside the file"
        )


def _fingerprint(path: Path, rows: Sequence[dict[str, Any]]) -> str:
    """SHA-256 of the file and of every image in it."""
    total = hashlib.sha256(content_sha256(path).encode())
    for file in dict.fromkeys(file for _, file in _files(rows)):
        image = path.parent / file
        total.update(digest([file, content_sha256(image) if image.is_file() else None]).encode())
    return total.hexdigest()
