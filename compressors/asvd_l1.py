"""ASVD with the mean magnitude of each input channel, as ASVD and AWQ weigh inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from torch import Tensor

from harness.algebra import preconditioners
from harness.plugin import Local, Moments, Preconditioner, RankedConfig


@dataclass(frozen=True, kw_only=True)
class Config(RankedConfig):
    """Options of ``asvd-l1``.

    Attributes:
        alpha: exponent of the input channels' mean magnitudes; 0 is plain SVD.
    """

    alpha: Annotated[float, Field(ge=0, le=10)] = 0.5


def precondition(moments: Moments, C: Tensor, config: Config) -> Preconditioner:  # noqa: ARG001
    """``P = diag(mean |x|)^alpha``."""
    return preconditioners.l1(moments.magnitude, config.alpha)


plugin = Local("activation-aware SVD, diagonal l1 norm", Config, precondition)
