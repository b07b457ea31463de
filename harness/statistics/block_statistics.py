"""What calibration saw inside one block: all a method knows of activations and gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.layers.roles import SITE_OF_ROLE, Role, Site
from harness.layers.weights import BlockWeights
from harness.statistics.moments import Moments


@dataclass(frozen=True)
class BackwardStatistics:
    """What comes back to one block's layers from the model's predictions.

    Attributes:
        gradients: moments at the output of each layer, whose second moment is the Fisher
            information; zero where no gradient arrived.
        confirmed: what other samples confirm of the correlations in each layer's gradients and
            in each activation, 0 to 1.
        influence: mean over the tokens of the square of what each MLP neuron carries times what
            comes back to it, ``[n]``.
    """

    gradients: Mapping[Role, Moments]
    confirmed: Mapping[Role | Site, float]
    influence: Tensor


@dataclass(frozen=True)
class BlockStatistics:
    """What calibration saw inside one block.

    Attributes:
        moments: moments of each distinct activation.
        mlp_tokens: sampled inputs of the MLP, ``[n, d]``; None unless asked for.
        inverse_norms: mean of ``1 / rms`` per query head ``[h]`` and per key head ``[h_kv]``
            before the head norms; None without qk-norm.
        backward: of the untouched model; None unless asked for.
    """

    moments: Mapping[Site, Moments]
    mlp_tokens: Tensor | None = None
    inverse_norms: tuple[Tensor, Tensor] | None = None
    backward: BackwardStatistics | None = None


def unit_statistics(block: BlockWeights) -> BlockStatistics:
    """Of inputs of mean 0 and unit covariance, for methods that read no data."""
    moments: dict[Site, Moments] = {}
    for role, layer in block.layers.items():
        width, device = layer.weight.shape[1], layer.weight.device
        zero = torch.zeros(width, dtype=torch.float64, device=device)
        unit = torch.eye(width, dtype=torch.float64, device=device)
        moments[SITE_OF_ROLE[role]] = Moments(0, unit, zero, zero)
    return BlockStatistics(moments)
