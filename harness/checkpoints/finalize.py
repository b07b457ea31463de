"""From tensors in their places to a model that runs."""

from __future__ import annotations

from torch import nn

from harness.layers.factors import CompressedLinear, OutputIdentity


def make_runnable(model: nn.Module) -> None:
    """Freeze factors and derive what is not stored, once all tensors of ``model`` are loaded."""
    for module in model.modules():
        if isinstance(module, CompressedLinear):
            module.requires_grad_(requires_grad=False)
        if isinstance(module, OutputIdentity):
            module.restore()
