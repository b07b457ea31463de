"""Factors described by their sizes, and made again from them without values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from torch import nn

from harness.checkpoints.format import SavedLayer
from harness.errors import UsageError
from harness.layers.factors import CompressedLinear
from harness.layers.fused import FusedFactors
from harness.layers.shapes import LayerShape, shape_of


def saved_layers(model: nn.Module) -> tuple[SavedLayer, ...]:
    """Every layer of ``model`` that is in factor form, in the model's order.

    Raises:
        UsageError: a form that is not of this package.
    """
    return tuple(
        SavedLayer(path=path, **asdict(shape_of(module)))
        for path, module in model.named_modules()
        if isinstance(module, CompressedLinear)
    )


def install_layers(model: nn.Module, layers: Iterable[SavedLayer]) -> None:
    """Put factors whose values are yet to come in the place of dense layers.

    They are made on the default device and of the default dtype.

    Raises:
        UsageError: a layer is of an unknown form, or has no place in ``model``.
    """
    paths = {path for path, _ in model.named_modules()}
    fused: dict[str, FusedFactors] = {}
    for layer in layers:
        projection, _, part = layer.path.rpartition(".")
        if layer.path in paths:
            model.set_submodule(layer.path, shape_in(layer).random())
        elif projection in paths:
            fused.setdefault(projection, FusedFactors())[part] = shape_in(layer).random()
        else:
            raise UsageError(f"{type(model).__name__} has no layer '{layer.path}'")
    for path, parts in fused.items():
        model.set_submodule(path, parts)


def shape_in(layer: SavedLayer) -> LayerShape:
    """The form and the sizes that ``layer`` tells."""
    return LayerShape(**layer.model_dump(exclude={"path"}))
