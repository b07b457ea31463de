"""What a folder of records holds, to be compared with another."""

from __future__ import annotations

import json
from pathlib import Path

from harness.records import store
from harness.records.record import RunRecord


def values(folder: Path) -> dict[str, str]:
    """What each record of ``folder`` found; all of them are sound."""
    records, problems = store.load_all(folder)
    assert not problems
    return {record.run_id: _found(record) for record in records}


def leftovers(output: Path) -> set[str]:
    """What a finished sweep has left in its folder that is neither a record nor a lock."""
    return {path.name for path in output.iterdir() if path.suffix not in (".json", ".tmp")} - {
        ".locks"
    }


def _found(record: RunRecord) -> str:
    result = record.result
    return json.dumps(result.model_dump(mode="json") if result else record.error)
