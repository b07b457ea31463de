"""A data set of questions as it was read, before any task has looked at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import UsageError
from harness.questions.pictures import Picture, absent

ID = "question_id"
IMAGE = "image"
Row = Mapping[str, Any]
"""Fields of one question; under ``image`` a ``Picture``, or None where it has none."""


@dataclass(frozen=True)
class QuestionRows:
    """Questions in their original order.

    ``columns`` are the fields that occur at all. ``fingerprint`` covers questions and images:
    the SHA-256 of their content, or of the hub commit and the names in it.
    """

    reference: str
    rows: Sequence[Row]
    columns: frozenset[str]
    fingerprint: str
    revision: str | None = None

    def checked(self, index: int) -> CheckedRow:
        """The question at ``index``.

        Raises:
            UsageError: it lacks the id that others have.
        """
        row = self.rows[index]
        name = row.get(ID) if ID in self.columns else index
        if name is None:
            raise UsageError(f"row {index} of {self.reference} has no '{ID}', others have one")
        return CheckedRow(self, str(name), row)


@dataclass(frozen=True)
class CheckedRow:
    """One row whose fields are checked as they are asked for.

    ``id`` is the data's own ``question_id`` where it has one, else the index.
    """

    source: QuestionRows
    id: str
    row: Row

    @property
    def name(self) -> str:
        """The question as errors call it."""
        return f"question {self.id} of {self.source.reference}"

    def text(self, field: str) -> str:
        """A field that must be text."""
        value = self._value(field)
        if not isinstance(value, str):
            raise self.wrong(field, "text")
        return value

    def texts(self, field: str, least: int = 1) -> tuple[str, ...]:
        """A field that must be a list of at least that many texts."""
        value = self._value(field)
        if (
            not isinstance(value, list | tuple)
            or len(value) < least
            or not all(isinstance(text, str) for text in value)
        ):
            raise self.wrong(field, f"a list of {least} or more texts")
        return tuple(value)

    def index(self, field: str, length: int) -> int:
        """A field that must be an index into ``length`` things."""
        value = self._value(field)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < length:
            raise self.wrong(field, f"a whole number from 0 to {length - 1}")
        return value

    def picture(self) -> Picture | None:
        """The image, if the question has one."""
        value: Picture | None = self._value(IMAGE)
        return value

    def required_picture(self) -> Picture:
        """The image; where there is none, one that cannot be opened."""
        return self.picture() or absent(self.name)

    def wrong(self, field: str, expected: str) -> UsageError:
        """Error for a field that is not what it must be."""
        return UsageError(f"{self.name}: '{field}' must be {expected}, not {self.row.get(field)!r}")

    def _value(self, field: str) -> Any:
        if field not in self.row:
            raise UsageError(
                f"{self.name} has no '{field}'; it has {', '.join(sorted(self.row)) or 'nothing'}"
            )
        return self.row[field]
