"""ASVD with the diagonal of the inverse Hessian, as OBS and GPTQ weigh inputs."""

from __future__ import annotations

from torch import Tensor

from harness.algebra import preconditioners
from harness.plugin import Local, LocalConfig, Moments, Preconditioner


def precondition(moments: Moments, C: Tensor, config: LocalConfig) -> Preconditioner:  # noqa: ARG001
    """``P = diag((C + lam I)^-1)^(-1/2)``."""
    return preconditioners.hessian(C, config.damping)


plugin = Local("activation-aware SVD, diagonal Hessian", LocalConfig, precondition)
