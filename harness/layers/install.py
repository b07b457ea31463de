"""From the shapes of factors, and later their values, to a model that runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from harness.errors import UsageError
from harness.layers.factors import CompressedLinear, OutputIdentity
from harness.layers.fused import FusedFactors
from harness.layers.shapes import LayerShape


def install_layers(model: nn.Module, shapes: Mapping[str, LayerShape], prefix: str = "") -> None:
    """Put factors whose values are yet to come in the place of dense layers.

    They are made on the default device and of the default dtype.

    Args:
        model: has the dense layers.
        shapes: by dotted path; that of a part of a fused projection lies below the projection's.
        prefix: what ``model`` is called in paths that begin so.

    Raises:
        UsageError: a layer is of an unknown form, or has no place in ``model``.
    """
    places = {path for path, _ in model.named_modules()}
    fused: dict[str, FusedFactors] = {}
    for name, shape in shapes.items():
        path = name.removeprefix(prefix)
        projection, _, part = path.rpartition(".")
        if path in places:
            model.set_submodule(path, shape.random())
        elif projection in places:
            fused.setdefault(projection, FusedFactors())[part] = shape.random()
        else:
            raise UsageError(f"{type(model).__name__} has no layer '{path}'")
    for path, parts in fused.items():
        model.set_submodule(path, parts)


def inner_prefix(model: Any) -> str:
    """What ``model`` is called in the paths of a model of transformers around it, empty for that.

    ``AutoModel`` opens what is within: ``layers.0`` is ``model.layers.0`` in the whole.
    """
    name: str = model.base_model_prefix
    return "" if hasattr(model, name) else f"{name}."


def set_trainable(model: nn.Module, *, trainable: bool) -> None:
    """Whether the factors of ``model`` take gradients; permutations never do."""
    for module in model.modules():
        if isinstance(module, CompressedLinear):
            module.requires_grad_(trainable)


def make_runnable(model: nn.Module) -> None:
    """Freeze factors and derive what is not stored, once all tensors of ``model`` are loaded."""
    set_trainable(model, trainable=False)
    for module in model.modules():
        if isinstance(module, OutputIdentity):
            module.restore()
