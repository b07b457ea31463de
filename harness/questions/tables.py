"""Questions in a table of ``datasets``; images stay in the file until they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import datasets
from PIL import Image

from harness.errors import UsageError
from harness.questions.computed_sequence import ComputedSequence
from harness.questions.pictures import Picture, decoded
from harness.questions.rows import IMAGE, Row


def table_rows(table: Any, name: str) -> Sequence[Row]:
    """The rows of a ``datasets.Dataset`` that holds its images itself, not paths of them.

    Args:
        table: the data set.
        name: what errors call it.

    Raises:
        UsageError: there is no column ``image``.
    """
    if IMAGE not in table.column_names:
        raise UsageError(f"{name} has no column 'image'; it has {', '.join(table.column_names)}")
    images = table.select_columns([IMAGE])
    if isinstance(images.features[IMAGE], datasets.Image):
        images = images.cast_column(IMAGE, datasets.Image(decode=False))
    fields = table.remove_columns(IMAGE)
    # Looks at the column's null mask only, not at a byte of an image.
    batches = images.with_format("arrow").iter(1000)
    absent = [null for batch in batches for null in batch[IMAGE].is_null().to_pylist()]

    def row(index: int) -> Row:
        load = partial(_load, images, index)
        picture = None if absent[index] else Picture(f"the image in row {index} of {name}", load)
        return {**fields[index], IMAGE: picture}

    return ComputedSequence(len(table), row)


def _load(images: Any, index: int) -> Image.Image:
    value = images[index][IMAGE]
    content = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(content, bytes):
        raise ValueError("the table holds no bytes of it")  # noqa: TRY004
    return decoded(content)
