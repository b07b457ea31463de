"""Rows of JSON as people keep them: an object a line, an array of objects, objects over lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from harness.errors import UsageError

_SPACE = " \t\n\r\ufeff"


def json_rows(text: str, name: object) -> Iterator[tuple[int, Any]]:
    """Each value of ``text`` with the line (from 1) that it starts on; an array gives its items.

    Args:
        text: of the file.
        name: of the file, for errors.

    Raises:
        UsageError: something is no JSON, or text that no encoding has; names the line.
    """
    decoder = json.JSONDecoder()
    inside = False
    at, line = _skip(text, 0, 1)
    if text[at : at + 1] == "[":
        inside = True
        at, line = _skip(text, at + 1, line)
    while at < len(text):
        if inside and text[at] == "]":
            at, line = _skip(text, at + 1, line)
            if at < len(text):
                raise UsageError(f"line {line} of {name}: something follows the array; remove it")
            return
        try:
            value, end = decoder.raw_decode(text, at)
        except ValueError as error:
            raise UsageError(f"line {line} of {name} is no JSON: {error}") from error
        except RecursionError as error:
            raise UsageError(f"line {line} of {name} is nested too deeply; flatten it") from error
        _require_encodable(value, line, name)
        yield line, value
        line += text.count("\n", at, end)
        at, line = _skip(text, end, line)
        if inside:
            at, line = _comma(text, at, line, name)
    if inside:
        raise UsageError(f"line {line} of {name}: the array does not end; copy the file again")


def _skip(text: str, at: int, line: int) -> tuple[int, int]:
    """Over white space."""
    start = at
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at, line + text.count("\n", start, at)


def _comma(text: str, at: int, line: int, name: object) -> tuple[int, int]:
    if text[at : at + 1] == ",":
        return _skip(text, at + 1, line)
    if text[at : at + 1] not in ("]", ""):
        raise UsageError(f"line {line} of {name} is no JSON: a comma is missing before it")
    return at, line


def _require_encodable(value: Any, line: int, name: object) -> None:
    """Refuse halves of surrogate pairs, which JSON can escape and no text can hold."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = ascii(error.object[error.start])
        raise UsageError(
            f"line {line} of {name} holds {half}, half a character; correct the file's encoding"
        ) from error
