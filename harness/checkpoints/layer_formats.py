"""Factors described by their sizes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from torch import nn

from harness.checkpoints.format import SavedLayer
from harness.layers.factors import CompressedLinear
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


def shapes_in(layers: Iterable[SavedLayer]) -> dict[str, LayerShape]:
    """The forms and the sizes that ``layers`` tell, by path."""
    return {layer.path: LayerShape(**layer.model_dump(exclude={"path"})) for layer in layers}
