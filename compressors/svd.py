"""Plain SVD of the weights: blind to the data."""

from __future__ import annotations

from torch import Tensor

from harness.algebra import preconditioners
from harness.plugin import Local, Moments, Preconditioner, RankedConfig


def precondition(moments: Moments, C: Tensor, config: RankedConfig) -> Preconditioner:  # noqa: ARG001
    """``P = I``."""
    return preconditioners.identity(len(C), C)


plugin = Local("plain SVD of each weight", RankedConfig, precondition, blind=True)
