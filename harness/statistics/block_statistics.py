"""What calibration saw inside one block: all a method knows of activations and gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from harness.layers.roles import Role, Site
from harness.statistics.moments import Moments


@dataclass(frozen=True)
class BlockStatistics:
    """What calibration saw inside one block.

    Attributes:
        moments: moments of each distinct activation.
        mlp_tokens: sampled inputs of the MLP, ``[n, d]``; None unless asked for.
        inverse_norms: mean of ``1 / rms`` per query head ``[h]`` and per key head ``[h_kv]``
            before the head norms; None without qk-norm.
        gradients: moments of what comes back to each layer's output from the model's predictions,
            whose second moment is the Fisher information; None unless asked for.
        agreement: what other samples confirm of the correlations in each layer's gradients and
            in each activation, 0 to 1; there when ``gradients`` are.
        influence: mean over the tokens of the square of what each MLP neuron carries times what
            comes back to it, ``[n]``; there when ``gradients`` are.
    """

    moments: Mapping[Site, Moments]
    mlp_tokens: Tensor | None = None
    inverse_norms: tuple[Tensor, Tensor] | None = None
    gradients: Mapping[Role, Moments] | None = None
    agreement: Mapping[Role | Site, float] | None = None
    influence: Tensor | None = None
