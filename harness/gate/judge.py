"""Compare candidate records with a baseline; pure."""

from __future__ import annotations

from collections.abc import Iterable

from harness.errors import NonFiniteError
from harness.gate.baseline import Baseline, BaselineCell, cell_key, observed
from harness.gate.verdict import CellVerdict, Outcome, Verdict
from harness.records.observations import Unpaired
from harness.records.paired_tests import Paired, compare_observed
from harness.records.record import RunRecord

SIZE_TOLERANCE = 0.01
"""A model whose size is off by more than this share is not the model of its ratio."""

ACCEPT = "if it is meant, 'harness gate accept' takes it over"


def judge(baseline: Baseline, records: Iterable[RunRecord]) -> Verdict:
    """The verdict on ``records``, of which the newest of a cell counts."""
    newest: dict[str, RunRecord] = {}
    for record in sorted(records, key=lambda record: (record.created, record.run_id)):
        newest[cell_key(record.spec)] = record
    cells = [_judge(baseline, cell, newest.pop(cell.key, None)) for cell in baseline.cells]
    cells += [_unknown(record) for record in newest.values()]
    return Verdict(
        false_alarm=baseline.false_alarm, confidence=baseline.confidence, cells=tuple(cells)
    )


def _judge(baseline: Baseline, cell: BaselineCell, record: RunRecord | None) -> CellVerdict:
    if record is None:
        return _failed(cell, "there is no candidate; run all cells of the baseline")
    if record.status != "complete":
        return _failed(
            cell, f"the candidate is {record.status}: {record.error or 'see its record'}"
        )
    if record.data.fingerprint != cell.data:
        return _failed(cell, f"the data differ from the baseline's; {ACCEPT}")
    try:
        observations = observed(record)
        paired = (
            observations
            if isinstance(observations, Unpaired)
            else compare_observed(baseline.observations(cell), observations, baseline.confidence)
        )
    except NonFiniteError as error:
        return _failed(cell, str(error))
    if isinstance(paired, Unpaired):
        return _failed(cell, f"{paired.reason}; {ACCEPT}")
    outcome, reason = compared(cell, paired)
    if size := _changed_size(cell, record):
        outcome, reason = "fail", size
    assert record.result is not None
    return CellVerdict(
        title=cell.title,
        outcome=outcome,
        reason=reason + _other_weights(cell, record),
        metric=cell.metric,
        baseline=cell.value,
        candidate=record.result.metrics[0].value,
        loss=paired.loss,
        interval=paired.loss_interval,
        minimum=cell.minimum,
        n=paired.n,
    )


def compared(cell: BaselineCell, paired: Paired) -> tuple[Outcome, str]:
    """The verdict on a paired comparison at the baseline's confidence, and why."""
    if not paired.changed:
        return "pass", "the same to the last sample"
    if paired.loss_interval is None:
        return "inconclusive", "a single sample proves nothing; evaluate more"
    low, high = paired.loss_interval
    if low > cell.minimum:
        return "fail", f"a loss above {cell.minimum:.2%} is proven"
    if high < -cell.suspicious:
        return "fail", f"a gain above {cell.suspicious:.2%} is suspicious; {ACCEPT}"
    if high <= cell.minimum:
        return "pass", f"a loss above {cell.minimum:.2%} is ruled out"
    return "inconclusive", f"a loss above {cell.minimum:.2%} is neither proven nor ruled out"


def _changed_size(cell: BaselineCell, record: RunRecord) -> str:
    facts = record.compression
    parameters = facts.parameters if facts else record.model.parameters
    if abs(parameters - cell.parameters) <= SIZE_TOLERANCE * cell.parameters:
        return ""
    return f"the model has {parameters:,} parameters instead of {cell.parameters:,}; {ACCEPT}"


def _other_weights(cell: BaselineCell, record: RunRecord) -> str:
    """A gate is there to compare other weights too, but who reads it must know."""
    return "" if record.model.fingerprint == cell.weights else " (of other weights)"


def _failed(cell: BaselineCell, reason: str) -> CellVerdict:
    return CellVerdict(
        title=cell.title,
        outcome="fail",
        reason=reason,
        metric=cell.metric,
        baseline=cell.value,
        minimum=cell.minimum,
    )


def _unknown(record: RunRecord) -> CellVerdict:
    return CellVerdict(
        title=record.title,
        outcome="new",
        reason="not in the baseline; 'harness gate calibrate' adds it",
        candidate=record.result.metrics[0].value if record.result else None,
    )
