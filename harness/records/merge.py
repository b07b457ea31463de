"""Records of several folders as one set: nothing lost, nothing doubled, nothing chosen silently."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.records.record import RunRecord, Status

RANK: dict[Status, int] = {"failed": 0, "incomplete": 1, "complete": 2}


@dataclass(frozen=True)
class StoredRecord:
    """A record and the file it was read from."""

    path: Path
    record: RunRecord


@dataclass(frozen=True)
class Conflict:
    """Two records of one cell that do not say the same.

    ``what`` is the first thing they differ in, ``values`` what each of the two says.
    """

    first: StoredRecord
    second: StoredRecord
    what: str
    values: tuple[str, str]

    def __str__(self) -> str:
        first, second = self.values
        return (
            f"{self.first.record.title} ({self.first.record.run_id}): {self.what} is {first} in "
            f"{self.first.path} and {second} in {self.second.path}"
        )


@dataclass(frozen=True)
class Merged:
    """One record of each cell in the order found, and the cells on which there is no agreement."""

    kept: tuple[StoredRecord, ...]
    conflicts: tuple[Conflict, ...]


def merged(records: Iterable[StoredRecord]) -> Merged:
    """Bring ``records`` together.

    Of a cell the most complete record counts; of several equally complete ones with the same
    numbers the first. Failures have no numbers, of them the first counts too.
    """
    kept: dict[str, StoredRecord] = {}
    conflicts: list[Conflict] = []
    for found in records:
        other = kept.setdefault(found.record.run_id, found)
        if RANK[found.record.status] > RANK[other.record.status]:
            kept[found.record.run_id] = found
        elif found.record.status == other.record.status:
            differing = _difference(other.record, found.record)
            if differing:
                conflicts.append(Conflict(other, found, *differing))
    disputed = {conflict.first.record.run_id for conflict in conflicts}
    return Merged(
        kept=tuple(found for run_id, found in kept.items() if run_id not in disputed),
        conflicts=tuple(conflicts),
    )


def _difference(a: RunRecord, b: RunRecord) -> tuple[str, tuple[str, str]] | None:
    """The first number that differs, beyond exact equality."""
    first, second = _numbers(a), _numbers(b)
    for name in dict.fromkeys([*first, *second]):
        values = (first.get(name, "absent"), second.get(name, "absent"))
        if values[0] != values[1]:
            return name, values
    return None


def _numbers(record: RunRecord) -> dict[str, str]:
    found: dict[str, str] = {}
    for metric in record.result.metrics if record.result else ():
        name = f"{metric.name} {metric.slice}" if metric.slice else metric.name
        found[name] = repr(metric.value)
        found[f"n of {name}"] = str(metric.n)
    return found
