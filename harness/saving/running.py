"""From tensors in their places to a model that runs."""

from __future__ import annotations

from torch import nn

from harness.factors import Factor, OutputIdentity
from harness.saving.layout import Cache


def make_runnable(model: nn.Module, cache: Cache) -> None:  # noqa: ARG001
    """Freeze factors and derive what is not stored, once all tensors of ``model`` are loaded.

    Args:
        model: the original architecture with factors in the place of its linear layers.
        cache: what its attention is to keep of each token.
    """
    for module in model.modules():
        if isinstance(module, Factor):
            module.requires_grad_(requires_grad=False)
        if isinstance(module, OutputIdentity):
            module.restore()
