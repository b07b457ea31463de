"""Averages of head-space moments over rotary offsets (appendix, equations 170 to 179).

The rotation couples coordinates ``j`` and ``j + head_size/2``, as transformers stores them.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

Window = int | Literal["all"]


def rotations(frequencies: Tensor, offsets: Tensor) -> Tensor:
    """Rotation matrices ``R_t: [n, d_h, d_h]`` for ``n`` relative offsets ``t``.

    Args:
        frequencies: inverse frequencies in radians per step along each axis,
            ``[axes, d_h / 2]``, or ``[d_h / 2]`` for one axis.
        offsets: ``[n, axes]``, or ``[n]`` for one axis.
    """
    steps = offsets.reshape(len(offsets), -1).to(frequencies.dtype)
    angles = steps @ torch.atleast_2d(frequencies)
    cos, sin = torch.diag_embed(angles.cos()), torch.diag_embed(angles.sin())
    return torch.cat([torch.cat([cos, -sin], 2), torch.cat([sin, cos], 2)], 1)


def average_key_moment(M: Tensor, frequencies: Tensor | None, window: Window) -> Tensor:
    """``mean_t R_t M R_t^T`` over relative offsets, for key-side moments ``M: [heads, d_h, d_h]``.

    Along a text (``frequencies: [d_h / 2]``) offsets are causal: a key ``t`` tokens before the
    query appears as ``R_{-t}``. In a plane (``[2, d_h / 2]``) they are the square around the
    query that comes nearest to ``window`` offsets. ``window`` 1 ignores the rotation; ``"all"``
    is the limit of an infinite window, the projection onto what commutes with every rotation.
    ``frequencies`` None means no rotation.
    """
    return _average(M, frequencies, window, sign=-1)


def average_query_moment(N: Tensor, frequencies: Tensor | None, window: Window) -> Tensor:
    """``mean_t R_t^T N R_t`` over the same offsets, for query-side moments."""
    return _average(N, frequencies, window, sign=1)


def _average(M: Tensor, frequencies: Tensor | None, window: Window, sign: int) -> Tensor:
    if frequencies is None or window == 1:
        return M
    if window == "all":
        return _commuting_part(M)
    R = rotations(frequencies.to(M), sign * _offsets(window, frequencies.dim()).to(M))
    return torch.einsum("tab,hbc,tdc->had", R, M, R) / len(R)


def _offsets(window: int, axes: int) -> Tensor:
    """Relative offsets ``[n, axes]``."""
    if axes == 1:
        return torch.arange(window)[:, None]
    radius = round((math.sqrt(window) - 1) / 2)
    reach = torch.arange(-radius, radius + 1)
    return torch.cartesian_prod(reach, reach)


def _commuting_part(M: Tensor) -> Tensor:
    """Symmetric ``M`` projected onto the commutant of rotations with distinct frequencies."""
    half = M.shape[-1] // 2
    diagonal = M.diagonal(dim1=-2, dim2=-1)
    pairs = (diagonal[..., :half] + diagonal[..., half:]) / 2
    return torch.diag_embed(torch.cat([pairs, pairs], -1))
