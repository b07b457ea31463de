"""Factors described by their sizes, and made again from them without values."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from harness.errors import UsageError
from harness.factors import (
    Dense,
    Factor,
    HeadIdentity,
    InputIdentity,
    LowRank,
    OutputIdentity,
)
from harness.families.fused import FusedFactors
from harness.saving.layout import SavedLayer


def saved_layers(model: nn.Module) -> tuple[SavedLayer, ...]:
    """Every layer of ``model`` that is in factor form, in the model's order.

    Raises:
        UsageError: a form that is not of this package.
    """
    return tuple(
        _described(path, module)
        for path, module in model.named_modules()
        if isinstance(module, Factor)
    )


def install(model: nn.Module, layers: Iterable[SavedLayer]) -> None:
    """Put factors without values in the place of dense layers.

    They are made on the default device and of the default dtype.

    Raises:
        UsageError: a layer is of an unknown form, or has no place in ``model``.
    """
    paths = {path for path, _ in model.named_modules()}
    fused: dict[str, FusedFactors] = {}
    for layer in layers:
        projection, _, part = layer.path.rpartition(".")
        if layer.path in paths:
            model.set_submodule(layer.path, _empty(layer))
        elif projection in paths:
            fused.setdefault(projection, FusedFactors())[part] = _empty(layer)
        else:
            raise UsageError(f"{type(model).__name__} has no layer '{layer.path}'")
    for path, parts in fused.items():
        model.set_submodule(path, parts)


def _described(path: str, factor: Factor) -> SavedLayer:
    heads = None
    match factor:
        case Dense():
            d_out, d_in = factor.weight.shape
        case LowRank():
            d_out, d_in = len(factor.B), factor.A.shape[1]
        case InputIdentity():
            d_out, d_in = len(factor.F), factor.kept.numel() + factor.rest.numel()
        case OutputIdentity():
            d_out, d_in = factor.kept.numel() + factor.rest.numel(), factor.F.shape[1]
        case HeadIdentity():
            d_out, d_in = factor.head_kept.numel(), factor.kept.numel() + factor.rest.numel()
            heads = len(factor.head_kept)
        case _:
            raise UsageError(f"{path} is a {type(factor).__name__}, a form that cannot be saved")
    return SavedLayer(
        path=path,
        form=factor.form,
        d_in=d_in,
        d_out=d_out,
        rank=factor.rank,
        bias=factor.bias is not None,
        heads=heads,
    )


def _empty(layer: SavedLayer) -> Factor:
    d_in, d_out, rank = layer.d_in, layer.d_out, layer.rank
    bias = torch.empty(d_out) if layer.bias else None
    match layer.form:
        case Dense.form:
            return Dense(torch.empty(d_out, d_in), bias)
        case LowRank.form:
            return LowRank(torch.empty(d_out, rank), torch.empty(rank, d_in), bias)
        case InputIdentity.form:
            F, T = torch.empty(d_out, rank), torch.empty(rank, d_in - rank)
            return InputIdentity(F, T, _index(rank), _index(d_in - rank), bias)
        case OutputIdentity.form:
            F, T = torch.empty(rank, d_in), torch.empty(d_out - rank, rank)
            return OutputIdentity(F, T, _index(rank), _index(d_out - rank), bias)
        case HeadIdentity.form if layer.heads:
            heads, size = layer.heads, d_out // layer.heads
            return HeadIdentity(
                torch.empty(rank, d_in - rank),
                torch.empty(heads, size, rank - size),
                (_index(rank), _index(d_in - rank)),
                (_index(heads, size), _index(heads, rank - size)),
                bias,
            )
        case _:
            raise UsageError(f"{layer.path} is of an unknown form '{layer.form}'; upgrade harness")


def _index(*shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.int32)
