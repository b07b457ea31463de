"""ASVD with the root mean square of each input channel, as Wanda weighs inputs."""

from __future__ import annotations

from torch import Tensor

from harness.algebra import preconditioners
from harness.plugin import Local, Moments, Preconditioner, RankedConfig


def precondition(moments: Moments, C: Tensor, config: RankedConfig) -> Preconditioner:  # noqa: ARG001
    """``P = diag(C)^(1/2)``."""
    return preconditioners.l2(C)


plugin = Local("activation-aware SVD, diagonal l2 norm", RankedConfig, precondition)
