"""A calibration that nobody reads: what it would be drawn from, and nothing of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.assets.kinds import TextAsset
from harness.calibration.text import Inputs
from harness.models.prompt import PromptSource
from harness.records.record import DataFacts
from harness.records.spec import CalibrationSpec


def undrawn_facts(source: TextAsset | PromptSource) -> DataFacts:
    """Where samples would come from."""
    return DataFacts(
        reference=source.reference, fingerprint=source.fingerprint, revision=source.revision
    )


@dataclass(frozen=True)
class Undrawn:
    """See ``Calibration``; it holds no samples."""

    facts: DataFacts
    spec: CalibrationSpec | None = None

    def __len__(self) -> int:
        return 0

    def batches(self, batch_size: int, device: torch.device) -> Iterator[Inputs]:  # noqa: ARG002
        """None."""
        return iter(())

    def graded(
        self,
        batch_size: int,  # noqa: ARG002
        device: torch.device,  # noqa: ARG002
    ) -> Iterator[tuple[Inputs, Tensor]]:
        """None."""
        return iter(())
