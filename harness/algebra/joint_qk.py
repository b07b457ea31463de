"""Joint compression of query and key by their attention map (Algorithm 1, equation 138).

Minimises ``sum_i ||Q_i^T K_i - Aq^T Aq Q_i^T K_i Ak^T Ak||^2`` over orthonormal row bases
``Aq: [r_q, d]`` and ``Ak: [r_k, d]``, where ``Q_i = Wq_i P`` and ``K_i = Wk_i P`` are the whitened
heads and a key head is shared by its group of query heads. No ``d x d`` map is ever formed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.algebra.rotary import Window, average_key_moment, average_query_moment
from harness.algebra.spectral import leading_rows, symmetric_root

SETTLED = 1e-6
"""Relative fall of the loss below which the alternation has converged."""


@dataclass(frozen=True)
class HeadMaps:
    """Whitened heads and their means.

    Attributes:
        Q: ``[h, d_h, d]`` query heads times ``P``.
        K: ``[h_kv, d_h, d]`` key heads times ``P``.
        query_mean: ``[h, d_h]``, ``n_i = Wq_i mu + bq_i``; zero when moments are not centred.
        key_mean: ``[h_kv, d_h]``, ``m_i = Wk_i mu + bk_i``; likewise.
        frequencies: rotary inverse frequencies ``[d_h / 2]`` or None.
        window: rotary offsets to average over.
    """

    Q: Tensor
    K: Tensor
    query_mean: Tensor
    key_mean: Tensor
    frequencies: Tensor | None
    window: Window


@dataclass(frozen=True)
class JointBases:
    """Row bases and the loss after each update, first to last."""

    query: Tensor
    key: Tensor
    losses: tuple[float, ...]


def joint_query_key(maps: HeadMaps, query_rank: int, key_rank: int, iterations: int) -> JointBases:
    """Alternate the two eigenproblems (HOOI) until the loss stops falling.

    At most ``iterations`` rounds; the loss never rises. Mean terms enter each moment
    unprojected.
    """
    whole = _energy(maps, maps.Q, maps.K)
    query = _query_basis(maps, maps.K, query_rank)
    key = _key_basis(maps, maps.Q @ query.T, key_rank)
    losses = [float(whole - _energy(maps, maps.Q @ query.T, maps.K @ key.T))]
    for _ in range(iterations):
        query = _query_basis(maps, maps.K @ key.T, query_rank)
        key = _key_basis(maps, maps.Q @ query.T, key_rank)
        losses.append(float(whole - _energy(maps, maps.Q @ query.T, maps.K @ key.T)))
        if losses[-2] - losses[-1] <= SETTLED * float(whole):
            break
    return JointBases(query, key, tuple(losses))


def _query_basis(maps: HeadMaps, projected_keys: Tensor, rank: int) -> Tensor:
    """Leading eigenvectors of ``sum_i Q_i^T M_i Q_i``, ``[rank, d]``."""
    return leading_rows(
        (symmetric_root(_key_moment(maps, projected_keys)) @ maps.Q).flatten(0, 1), rank
    )[0]


def _key_basis(maps: HeadMaps, projected_queries: Tensor, rank: int) -> Tensor:
    """Leading eigenvectors of ``sum_i K_i^T N_i K_i``, ``[rank, d]``."""
    return leading_rows(
        (symmetric_root(_query_moment(maps, projected_queries)) @ maps.K).flatten(0, 1), rank
    )[0]


def _key_moment(maps: HeadMaps, K: Tensor) -> Tensor:
    """``M_i`` for every query head, ``[h, d_h, d_h]``."""
    M = average_key_moment(_outer(K, maps.key_mean), maps.frequencies, maps.window)
    return M.repeat_interleave(len(maps.Q) // len(maps.K), 0)


def _query_moment(maps: HeadMaps, Q: Tensor) -> Tensor:
    """``N_i`` summed over each key head's group, ``[h_kv, d_h, d_h]``."""
    N = average_query_moment(_outer(Q, maps.query_mean), maps.frequencies, maps.window)
    return N.unflatten(0, (len(maps.K), -1)).sum(1)


def _energy(maps: HeadMaps, Q: Tensor, K: Tensor) -> Tensor:
    """Squared attention map of (projected) heads, mean terms included."""
    means = _outer(torch.zeros_like(maps.query_mean[..., None]), maps.query_mean)
    means = average_query_moment(means, maps.frequencies, maps.window)
    means = means.unflatten(0, (len(maps.K), -1)).sum(1)
    return (Q @ Q.mT * _key_moment(maps, K)).sum() + (K @ K.mT * means).sum()


def _outer(heads: Tensor, mean: Tensor) -> Tensor:
    """``X_i X_i^T + m_i m_i^T`` for heads ``[n, d_h, r]`` and means ``[n, d_h]``."""
    return heads @ heads.mT + mean[:, :, None] * mean[:, None, :]
