"""What the algebra is compared with: numpy in float64, nothing of the code under test."""

from __future__ import annotations

import numpy as np
import scipy.linalg
import torch
from hypothesis import settings
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]

properties = settings(derandomize=True, max_examples=25, deadline=None, database=None)
"""Hypothesis profile: the same few examples in every run."""

SHAPES = [(6, 6), (4, 9), (9, 4), (1, 1), (1, 5), (5, 1), (2, 12), (12, 7)]
"""Square, wide, tall and tiny."""


def generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def gaussian(seed: int, *shape: int) -> Array:
    return generator(seed).standard_normal(shape)


def tensor(array: Array) -> Tensor:
    return torch.from_numpy(np.array(array, dtype=np.float64))


def array(value: Tensor) -> Array:
    return value.detach().cpu().double().numpy()


def rotation(seed: int, size: int) -> Array:
    """A random orthogonal matrix."""
    return np.linalg.qr(gaussian(seed, size, size))[0]


def moment(seed: int, size: int, rank: int | None = None, span: float = 3.0) -> Array:
    """A second moment whose eigenvalues fall over ``span`` decades; ``rank`` of them not zero."""
    vectors = rotation(seed, size)[:, : size if rank is None else rank]
    values = np.logspace(0, -span, vectors.shape[1])
    return (vectors * values) @ vectors.T


def low_rank(seed: int, rows: int, columns: int, rank: int) -> Array:
    return gaussian(seed, rows, rank) @ gaussian(seed + 1, rank, columns)


def damped(C: Array, damping: float) -> Array:
    return C + damping * np.trace(C) / len(C) * np.eye(len(C))


def symmetric_root(S: Array) -> Array:
    """Through scipy's eigensolver; works for singular matrices."""
    values, vectors = scipy.linalg.eigh(S)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def tail(Y: Array, rank: int) -> float:
    """Eckart and Young: the least squared error of any rank-``rank`` matrix."""
    return float((np.linalg.svd(Y, compute_uv=False)[rank:] ** 2).sum())


def truncated(Y: Array, rank: int) -> Array:
    """The best rank-``rank`` matrix."""
    U, values, V = np.linalg.svd(Y, full_matrices=False)
    return (U[:, :rank] * values[:rank]) @ V[:rank]


def squared(Y: Array) -> float:
    return float((Y**2).sum())


def assert_loss(found: float, wanted: float, scale: float) -> None:
    """Equal to 1e-9 relative; losses that vanish, to rounding of ``scale``."""
    assert abs(found - wanted) <= 1e-9 * wanted + 1e-12 * scale, (found, wanted)


def perturbed_basis(basis: Array, size: float, seed: int) -> Array:
    """Orthonormal rows near those of ``basis: [r, d]``."""
    moved = basis + size * gaussian(seed, *basis.shape)
    return np.linalg.qr(moved.T)[0].T
