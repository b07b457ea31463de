"""``record.json`` of a saved model: what it is, how it came about, what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from harness.checkpoints.format import retrained_record
from harness.errors import AssetError
from harness.records.document import Document
from harness.records.provenance import Origin
from harness.records.record import CompressionFacts, Environment, RunRecord, TrainingFacts

RECORD = "record.json"


class SavedRecord(Document):
    """All that is known about a saved model.

    ``records`` are its evaluations at the time it was saved, with every sample; ``created`` is
    UTC in ISO 8601; ``training`` is what happened after the compression.
    """

    format: Literal[1] = 1
    origin: Origin
    compression: CompressionFacts
    records: tuple[RunRecord, ...]
    environment: Environment
    created: str
    training: TrainingFacts | None = None

    def retrained(self) -> SavedRecord:
        """Without what may no longer hold of weights that ``save_pretrained`` wrote."""
        layers = tuple(
            layer.model_copy(update={"relative_loss": None, "interpolation_bound": None})
            for layer in self.compression.layers
        )
        return self.model_copy(
            update={
                "compression": self.compression.model_copy(update={"layers": layers}),
                "records": (),
                "training": self.training or TrainingFacts(what="weights"),
            }
        )


def read_saved_record(folder: Path) -> SavedRecord:
    """The record of the saved model in ``folder``.

    Raises:
        AssetError: it is missing or damaged.
    """
    kept = retrained_record(folder)
    where = folder / (RECORD if kept is None else "config.json")
    try:
        if kept is not None:
            return SavedRecord.model_validate(kept)
        return SavedRecord.model_validate_json(where.read_bytes())
    except FileNotFoundError as error:
        raise AssetError(f"{folder} lacks {RECORD}; copy the saved model again") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise AssetError(
            f"{where} is damaged ({'.'.join(map(str, first['loc']))}: {first['msg']}); "
            "copy the saved model again"
        ) from error
