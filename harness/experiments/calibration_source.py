"""Which calibration data a request takes, and for which of its tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.assets.kinds import TextAsset
from harness.calibration.undrawn import undrawn_facts
from harness.errors import UsageError
from harness.experiments.request import Request
from harness.experiments.resolve import NamedTask, Resolver
from harness.models.prompt import PromptSource
from harness.records.record import DataFacts
from harness.records.spec import CalibrationSpec


@dataclass(frozen=True)
class CalibrationSource:
    """Calibration data at hand and what is drawn from it."""

    spec: CalibrationSpec
    data: TextAsset | PromptSource

    @property
    def facts(self) -> DataFacts:
        """What is known before anything is drawn."""
        return undrawn_facts(self.data)


def calibration_sources(
    request: Request, named: Sequence[NamedTask], resolver: Resolver
) -> list[tuple[CalibrationSource, list[int]]]:
    """Each calibration with the positions of the tasks it serves.

    Raises:
        UsageError: a task measures on the data that its compression is calibrated on.
        AssetError: the data cannot be had.
    """
    members: dict[CalibrationSpec, list[int]] = {}
    for position, (task, _) in enumerate(named):
        members.setdefault(request.calibration_for(task.name), []).append(position)
    sources = [
        (CalibrationSource(spec, resolver.calibration(spec)), positions)
        for spec, positions in members.items()
    ]
    for source, positions in sources:
        for position in positions:
            require_other_data(source.data, named[position][1].data)
    return sources


def require_other_data(
    calibration: TextAsset | PromptSource | DataFacts, evaluation: DataFacts
) -> None:
    """Raise ``UsageError`` where both are the same data."""
    if calibration.fingerprint in (evaluation.fingerprint, evaluation.uncut):
        raise UsageError(
            f"'{calibration.reference}' is both calibration and evaluation data, so the "
            "result would flatter; pass another --calibration"
        )
