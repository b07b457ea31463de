"""What a limited run cannot show."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from harness.records.paired_tests import Paired, compare, detectable
from harness.records.record import RunRecord


def blind_spots(records: Sequence[RunRecord]) -> Iterator[str]:
    """For each limited, compressed record: the smallest difference from dense it could detect.

    The spread is that of the run's own paired differences, hence itself a rough figure where
    the limit is small.
    """
    by_id = {record.run_id: record for record in records}
    for record in records:
        dense = by_id.get(record.reference or "")
        if record.spec.task.limit is None or not (record.result and dense and dense.result):
            continue
        found = compare(dense.result, record.result)
        if isinstance(found, Paired):
            yield _sentence(record, found)


def _sentence(record: RunRecord, found: Paired) -> str:
    label = record.compression.label if record.compression else record.spec.method.name
    what = f"{label} at {record.spec.ratio:g}, {record.spec.task.name}, {found.n} {found.unit}"
    if found.stderr is None:
        return f"{what}: a single one shows no difference; raise --limit"
    smallest = detectable(found.n, found.stderr * math.sqrt(found.n))
    if found.logarithmic:
        size = f"a factor of {math.exp(min(smallest, 700)):.3g} in perplexity"
    else:
        size = f"{smallest:.2g} in {found.metric.partition('[')[0]}"
    return f"{what}: differences from dense below about {size} would go unseen; raise --limit"
