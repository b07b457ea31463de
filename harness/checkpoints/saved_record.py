"""``record.json`` of a saved model: what it is, how it came about, what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from harness.errors import AssetError
from harness.records.document import Document
from harness.records.provenance import Origin
from harness.records.record import CompressionFacts, Environment, RunRecord

RECORD = "record.json"


class SavedRecord(Document):
    """All that is known about a saved model.

    ``records`` are its evaluations at the time it was saved, with every sample; ``created`` is
    UTC in ISO 8601.
    """

    format: Literal[1] = 1
    origin: Origin
    compression: CompressionFacts
    records: tuple[RunRecord, ...]
    environment: Environment
    created: str


def read_saved_record(folder: Path) -> SavedRecord:
    """The record of the saved model in ``folder``.

    Raises:
        AssetError: it is missing or damaged.
    """
    try:
        return SavedRecord.model_validate_json((folder / RECORD).read_bytes())
    except FileNotFoundError as error:
        raise AssetError(f"{folder} lacks {RECORD}; copy the saved model again") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise AssetError(
            f"{folder / RECORD} is damaged ({'.'.join(map(str, first['loc']))}: {first['msg']}); "
            "copy the saved model again"
        ) from error
