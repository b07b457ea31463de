"""Reading documents from local files."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet  # type: ignore[import-untyped]
from pyarrow import ArrowException

from harness.errors import AssetError, UsageError
from harness.support.json_rows import json_rows
from harness.support.regular_files import require_regular

PLAIN = (".txt", ".utf8", ".raw")
ROWS = (".jsonl", ".json", ".json.gz", ".jsonl.gz")
SUFFIXES = (*PLAIN, *ROWS, ".parquet")
_FIELDS = ("text", "sentence", "page")


def is_plain(path: Path) -> bool:
    """Whether ``path`` names a plain text, in capitals too."""
    return path.name.lower().endswith(PLAIN)


def read_documents(path: Path) -> list[str]:
    """The documents of a file, in order and unchanged.

    A plain text (``.txt``, ``.utf8``, ``.raw``) is one document. JSON lines and parquet give
    one a row, from the field ``text``, ``sentence`` or ``page``.

    Raises:
        UsageError: the format is not one of these, or has no such field.
        AssetError: the file is damaged or cannot be read.
    """
    require_regular(path)
    name = path.name.lower()
    try:
        if is_plain(path):
            return [path.read_bytes().decode("utf-8-sig")]
        if name.endswith(ROWS):
            return list(_json_rows(path))
        if name.endswith(".parquet"):
            return _parquet_rows(path)
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 (byte {error.start}); convert it first") from error
    except (OSError, EOFError, ArrowException) as error:
        raise AssetError(f"{path} cannot be read ({error}); fetch or copy it again") from error
    raise UsageError(
        f"{path} is not a known text file; pass a file ending in {', '.join(SUFFIXES)}"
    )


def _json_rows(path: Path) -> Iterator[str]:
    opener: Any = gzip.open if path.suffix.lower() == ".gz" else open
    with opener(path, "rt", encoding="utf-8-sig") as file:
        content = file.read()
    for number, row in json_rows(content, path):
        fields = row if isinstance(row, dict) else {}
        text = next((fields[name] for name in _FIELDS if name in fields), None)
        if not isinstance(text, str):
            raise UsageError(
                f"line {number} of {path} has no text; each row must be an object with "
                f"{' or '.join(_FIELDS)}"
            )
        yield text


def _parquet_rows(path: Path) -> list[str]:
    columns = pyarrow.parquet.read_schema(path).names
    column = next((name for name in _FIELDS if name in columns), None)
    if column is None:
        raise UsageError(
            f"{path} has the columns {', '.join(columns)} but none of {', '.join(_FIELDS)}; "
            "rename the one that holds the text"
        )
    rows = pyarrow.parquet.read_table(path, columns=[column]).column(0).to_pylist()
    if not all(isinstance(row, str) for row in rows):
        raise UsageError(f"a row of {path} has no text in column {column}; remove such rows")
    return rows
