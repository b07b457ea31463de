"""ASVD with the root of the second moment: optimal for the activation error."""

from __future__ import annotations

from torch import Tensor

from harness.algebra import preconditioners
from harness.plugin import DampedConfig, Local, LocalConfig, Moments, Preconditioner


def precondition(moments: Moments, C: Tensor, config: DampedConfig) -> Preconditioner:  # noqa: ARG001
    """``P = (C + lam I)^(1/2)`` (equation 5)."""
    return preconditioners.root_covariance(C, config.damping)


plugin = Local("activation-aware SVD, root covariance (optimal)", LocalConfig, precondition)
