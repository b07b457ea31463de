"""The six preconditioners of the paper's Table 1, as metrics ``P P^T``.

A low-rank fit needs only the metric (or any of its square roots), never an inverse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from harness.algebra.blocked_products import gram, largest, sandwich, triangle_product
from harness.algebra.spectral import cholesky, symmetric_root
from harness.errors import NonFiniteError


@dataclass(frozen=True)
class Preconditioner:
    """``P`` up to an orthogonal factor.

    ``metric`` is ``P P^T``, ``[d, d]``, or its diagonal ``[d]``; ``known_root`` is ``P`` itself
    where it is at hand.
    """

    metric: Tensor
    known_root: Tensor | None = None

    @cached_property
    def root(self) -> Tensor:
        """Some ``P`` with ``P P^T`` the metric; ``[d]`` when diagonal."""
        if self.known_root is not None:
            return self.known_root
        if self.metric.ndim == 1:
            return self.metric.sqrt()
        return symmetric_root(self.metric) if self.triangle is None else self.triangle

    @cached_property
    def triangle(self) -> Tensor | None:
        """``P`` where it is a triangle, and can be solved with."""
        known = self.known_root is not None or self.metric.ndim == 1
        return None if known else cholesky(self.metric)

    def whiten(self, W: Tensor) -> Tensor:
        """``W P``, ``[m, d]``."""
        if self.triangle is not None:
            return triangle_product(W, self.triangle)
        return W * self.root if self.root.ndim == 1 else W @ self.root

    def gram(self, W: Tensor) -> Tensor:
        """``W P P^T W^T``, ``[m, m]``."""
        if self.metric.ndim == 1:
            return gram(W * self.metric.sqrt())
        return sandwich(W, self.metric)


def damped(C: Tensor, damping: float) -> Tensor:
    """``C + lam I`` with ``lam = damping * mean(diag C)`` (Ledoit-Wolf style shrinkage).

    The identity for a ``C`` of zeros: where nothing enters, no direction counts more than another.

    Raises:
        NonFiniteError: ``C`` holds NaN or infinity.
    """
    _require_finite(C)
    if not bool(C.any()):
        return torch.eye(len(C), dtype=C.dtype, device=C.device)
    total = C.clone()
    total.diagonal().add_(damping * C.diagonal().mean())
    return total


def identity(size: int, like: Tensor) -> Preconditioner:
    """``P = I``: plain SVD."""
    return Preconditioner(torch.ones(size, dtype=like.dtype, device=like.device))


def hessian(C: Tensor, damping: float) -> Preconditioner:
    """``P = diag((C + lam I)^-1)^(-1/2)``: the OBS diagonal (appendix sign)."""
    definite = damped(C, damping)
    factor, failed = torch.linalg.cholesky_ex(definite)
    if int(failed):
        raise NonFiniteError(
            "the calibration second moment is singular, so its inverse does not exist; "
            "pass a larger --damping or more calibration tokens"
        )
    return Preconditioner(1 / torch.cholesky_inverse(factor).diagonal())


def l1(magnitude: Tensor, alpha: float) -> Preconditioner:
    """``P = diag(mean |x|)^alpha``: ASVD's and AWQ's scaling."""
    _require_finite(magnitude)
    return Preconditioner(magnitude ** (2 * alpha))


def l2(C: Tensor) -> Preconditioner:
    """``P = diag(C)^(1/2)``: Wanda's scaling."""
    _require_finite(C)
    return Preconditioner(C.diagonal().clone())


def covariance(C: Tensor, damping: float) -> Preconditioner:
    """``P = C + lam I``: CorDA's."""
    P = damped(C, damping)
    return Preconditioner(P @ P, known_root=P)


def root_covariance(C: Tensor, damping: float) -> Preconditioner:
    """``P = (C + lam I)^(1/2)``: the minimiser of the activation error (equation 5)."""
    return Preconditioner(damped(C, damping))


def _require_finite(moment: Tensor) -> None:
    if not math.isfinite(largest(moment)):
        raise NonFiniteError("the calibration moments hold NaN or infinity")
