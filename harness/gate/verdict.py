"""What a gate says: one object, from which the exit code and all reports come."""

from __future__ import annotations

from typing import Literal

from harness.records.document import Document

Outcome = Literal["pass", "fail", "inconclusive", "new"]
"""``new``: the baseline does not know the cell."""


class CellVerdict(Document):
    """One cell.

    ``loss`` and ``interval`` are effects (see ``BaselineCell``), positive is worse; None where
    candidate and baseline cannot be compared.
    """

    title: str
    outcome: Outcome
    reason: str
    metric: str | None = None
    baseline: float | None = None
    candidate: float | None = None
    loss: float | None = None
    interval: tuple[float, float] | None = None
    minimum: float | None = None
    n: int | None = None


class Verdict(Document):
    """All cells.

    ``confidence`` is that of each cell's interval, so chosen that the chance of a false alarm in
    any of them is at most ``false_alarm``.
    """

    false_alarm: float
    confidence: float
    cells: tuple[CellVerdict, ...]

    @property
    def outcome(self) -> Outcome:
        """``fail`` if any cell fails, else ``inconclusive`` if any is, else ``pass``."""
        outcomes = {cell.outcome for cell in self.cells}
        if "fail" in outcomes:
            return "fail"
        return "inconclusive" if "inconclusive" in outcomes else "pass"

    def exit_code(self, *, strict: bool) -> int:
        """1 for a failure, with ``strict`` also where something stays open."""
        return int(self.outcome == "fail" or (strict and self.outcome == "inconclusive"))

    def summary(self) -> str:
        """One sentence."""
        counts = [
            f"{sum(cell.outcome == outcome for cell in self.cells)} {outcome}"
            for outcome in ("pass", "fail", "inconclusive", "new")
            if any(cell.outcome == outcome for cell in self.cells)
        ]
        return f"{self.outcome}: {', '.join(counts)} of {len(self.cells)} cells"
