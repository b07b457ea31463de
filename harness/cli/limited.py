"""What a limited run cannot show."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from harness.records.paired_tests import Paired, compare, detectable
from harness.records.record import RunRecord


def detection_limits(records: Sequence[RunRecord]) -> Iterator[str]:
    """For each limited, compressed record: the smallest difference from dense it could detect.

    The spread is that of the run's own paired differences, hence itself a rough figure where
    the limit is small.
    """
    by_id = {record.run_id: record for record in records}
    for record in records:
        dense = by_id.get(record.reference or "")
        if record.spec.task.limit is None or not (record.result and dense and dense.result):
            continue
        paired = compare(dense.result, record.result)
        if isinstance(paired, Paired):
            yield _sentence(record, paired)


def _sentence(record: RunRecord, paired: Paired) -> str:
    label = record.compression.label if record.compression else record.spec.method.name
    what = f"{label} at {record.spec.ratio:g}, {record.spec.task.name}, {paired.n} {paired.unit}"
    if paired.stderr is None:
        return f"{what}: a single one shows no difference; raise --limit"
    smallest = detectable(paired.n, paired.stderr * math.sqrt(paired.n))
    if smallest == 0:
        return f"{what}: all differ from dense alike, which says nothing of others; raise --limit"
    if paired.logarithmic and smallest < math.log(2):
        size = f"{100 * math.expm1(smallest):.2g} % of perplexity"
    elif paired.logarithmic:
        size = f"a factor of {math.exp(min(smallest, 700)):.3g} in perplexity"
    else:
        size = f"{smallest:.2g} in {paired.metric.partition('[')[0]}"
    return f"{what}: differences from dense below about {size} would go unseen; raise --limit"
