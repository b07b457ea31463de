"""Which numbers may stand beside one another: those that the same things were done to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.plugin import Caution, RunRecord
from leaderboards.entry import BoardEntry, set_apart
from leaderboards.rows import grouped
from leaderboards.tables import Unranked


def comparable(entries: Sequence[BoardEntry]) -> tuple[list[BoardEntry], list[Unranked]]:
    """Those whose numbers may be compared, and the others with the reason.

    Numbers of one model on one task that something has changed (a prompt that was cut, say) are
    compared only where the same was done as often to all of them, the dense model's included.
    """
    kept: list[BoardEntry] = []
    apart: list[Unranked] = []
    groups = grouped(entries, lambda entry: (entry.protocol, entry.measurement))
    for members in groups.values():
        alike = len({_signature(entry.record) for entry in members}) == 1
        for entry in members:
            if alike or not _signature(entry.record):
                kept.append(entry)
            else:
                apart.append(_unlike_others(entry))
    return kept, apart


def changes(record: RunRecord) -> Iterator[Caution]:
    """What changed the number of ``record``."""
    for caution in record.result.cautions if record.result else ():
        if caution.effect == "changes the number":
            yield caution


def _signature(record: RunRecord) -> frozenset[tuple[str, int]]:
    return frozenset((caution.kind, caution.count) for caution in changes(record))


def _unlike_others(entry: BoardEntry) -> Unranked:
    said = "; ".join(caution.text for caution in changes(entry.record))
    reason = f"not so for every row: {said}"
    return set_apart(entry.record, entry.label, "measured unlike the others", reason)
