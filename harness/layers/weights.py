"""The weights of one transformer block as plain tensors: all a method sees of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from harness.layers.roles import Role


@dataclass(frozen=True)
class LinearWeights:
    """``y = weight x + bias`` with ``weight: [d_out, d_in]`` and ``bias: [d_out]`` or None."""

    weight: Tensor
    bias: Tensor | None


@dataclass(frozen=True)
class AttentionGeometry:
    """How the rows of the attention projections split into heads.

    ``rotary`` holds the inverse frequencies ``[head_size / 2]`` in radians a token, for
    positions in a plane ``[2, head_size / 2]`` in radians a row and a column, None without
    rotary embedding. ``query_norm`` and ``key_norm`` are the weights ``[head_size]`` of
    a per-head RMS norm applied after the projection, None where there is none.
    """

    heads: int
    kv_heads: int
    head_size: int
    rotary: Tensor | None = None
    query_norm: Tensor | None = None
    key_norm: Tensor | None = None

    @property
    def group(self) -> int:
        """Query heads that share one key/value head."""
        return self.heads // self.kv_heads


@dataclass(frozen=True)
class BlockWeights:
    """One transformer block. A gated MLP has a ``gate`` layer; ``activation`` is its name."""

    layers: Mapping[Role, LinearWeights]
    attention: AttentionGeometry
    activation: str
