"""ASVD with the second moment itself as preconditioner, as CorDA."""

from __future__ import annotations

from torch import Tensor

from harness.algebra import preconditioners
from harness.plugin import Local, LocalConfig, Moments, Preconditioner


def precondition(moments: Moments, C: Tensor, config: LocalConfig) -> Preconditioner:  # noqa: ARG001
    """``P = C + lam I``."""
    return preconditioners.covariance(C, config.damping)


plugin = Local("activation-aware SVD, covariance", LocalConfig, precondition)
