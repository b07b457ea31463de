"""Options of ``twinroot``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from harness.compression.local import Damping
from harness.plugin import (
    Junction,
    LocalConfig,
    Propagation,
    Ranks,
)

Shrinkage = Annotated[float, Field(ge=0, le=1)] | Literal["held-out"]
Pruning = bool | Literal["only"]


@dataclass(frozen=True, kw_only=True)
class Config(LocalConfig):
    """Options of ``twinroot``.

    Attributes:
        gradient_damping: diagonal added to the gradients' second moment, relative to its mean
            diagonal.
        shrinkage: share of the inputs' correlations that is not believed; held-out: what the
            calibration samples, each held out in turn, do not confirm in one another.
        gradient_shrinkage: share of the gradients' correlations that is not believed; held-out as
            for shrinkage.
        neurons: whether the MLP loses whole neurons; otherwise each of its layers is of low rank.
            only: nothing else is removed, so that with uniform ranks all blocks are of one width.
        compensation: whether output and down projections make up for what earlier compression
            has done to their inputs and to the residual stream.
    """

    junction: Junction = "block-identity"
    propagation: Propagation = "original"
    ranks: Ranks = "fisher"
    gradient_damping: Damping = 0.1
    shrinkage: Shrinkage = "held-out"
    gradient_shrinkage: Shrinkage = "held-out"
    neurons: Pruning = True
    compensation: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot be done; whole neurons alone are multiples at uniform ranks too.

        Raises:
            UsageError: a multiple of other uniform ranks.
        """
        if self.neurons != "only":
            super().__post_init__()

    @property
    def reads_gradients(self) -> bool:
        """Always."""
        return True

    @property
    def compensates(self) -> bool:
        """As ``compensation`` says."""
        return self.compensation
