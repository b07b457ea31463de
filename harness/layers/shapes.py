"""What a compressed layer will be, from its shape alone: a factor's form and sizes, no values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.errors import UsageError
from harness.layers.factors import (
    CompressedLinear,
    DenseLinear,
    HeadIdentity,
    InputIdentity,
    LowRank,
    OutputIdentity,
)
from harness.layers.pruned import KeptColumns, KeptRows

SPREAD = 0.02
"""Standard deviation of random weights, that of transformers' own initialisation."""


@dataclass(frozen=True)
class LayerShape:
    """A factor without values.

    Attributes:
        form: ``CompressedLinear.form``.
        d_out, d_in: sizes of the layer.
        rank: inner dimension, or neurons that are kept; of a dense layer the largest it can have.
        bias: whether it has one.
        heads: parts of the output with an identity block each; for ``head-identity`` alone.
    """

    form: str
    d_out: int
    d_in: int
    rank: int
    bias: bool
    heads: int | None = None

    def random(self) -> CompressedLinear:
        """A factor of this form with random weights and permutations.

        It is made on the default device and of the default dtype; on the meta device it takes no
        memory and has no values.

        Raises:
            UsageError: the form is unknown.
        """
        if self.form not in _MAKERS:
            raise UsageError(f"a layer is of an unknown form '{self.form}'; upgrade harness")
        bias = torch.zeros(self.d_out) if self.bias else None
        return _MAKERS[self.form](self, bias)


def shape_of(factor: CompressedLinear) -> LayerShape:
    """The form and the sizes of a factor.

    Raises:
        UsageError: it is not of this package.
    """
    heads = None
    match factor:
        case DenseLinear():
            d_out, d_in = factor.weight.shape
        case LowRank():
            d_out, d_in = len(factor.B), factor.A.shape[1]
        case InputIdentity():
            d_out, d_in = len(factor.F), factor.kept.numel() + factor.rest.numel()
        case OutputIdentity():
            d_out, d_in = factor.kept.numel() + factor.rest.numel(), factor.F.shape[1]
        case KeptRows():
            d_out, d_in = factor.size, factor.weight.shape[1]
        case KeptColumns():
            d_out, d_in = len(factor.weight), factor.size
        case HeadIdentity():
            d_out, d_in = factor.head_kept.numel(), factor.kept.numel() + factor.rest.numel()
            heads = len(factor.head_kept)
        case _:
            raise UsageError(f"a {type(factor).__name__} is a form that cannot be described")
    return LayerShape(factor.form, d_out, d_in, factor.rank, factor.bias is not None, heads)


def _dense(shape: LayerShape, bias: Tensor | None) -> CompressedLinear:
    return DenseLinear(_weights(shape.d_out, shape.d_in), bias)


def _low_rank(shape: LayerShape, bias: Tensor | None) -> CompressedLinear:
    return LowRank(_weights(shape.d_out, shape.rank), _weights(shape.rank, shape.d_in), bias)


def _input_identity(shape: LayerShape, bias: Tensor | None) -> CompressedLinear:
    F, T = _weights(shape.d_out, shape.rank), _weights(shape.rank, shape.d_in - shape.rank)
    return InputIdentity(F, T, *_split(shape.d_in, shape.rank), bias)


def _output_identity(shape: LayerShape, bias: Tensor | None) -> CompressedLinear:
    F, T = _weights(shape.rank, shape.d_in), _weights(shape.d_out - shape.rank, shape.rank)
    return OutputIdentity(F, T, *_split(shape.d_out, shape.rank), bias)


def _head_identity(shape: LayerShape, bias: Tensor | None) -> CompressedLinear:
    assert shape.heads is not None
    size = shape.d_out // shape.heads
    heads = [_split(shape.rank, size) for _ in range(shape.heads)]
    return HeadIdentity(
        _weights(shape.rank, shape.d_in - shape.rank),
        _weights(shape.heads, size, shape.rank - size),
        _split(shape.d_in, shape.rank),
        (torch.stack([kept for kept, _ in heads]), torch.stack([rest for _, rest in heads])),
        bias,
    )


def _kept_rows(shape: LayerShape, bias: Tensor | None) -> CompressedLinear:
    kept = _split(shape.d_out, shape.rank)[0].sort().values
    rows = None if bias is None else bias[: shape.rank]
    return KeptRows(_weights(shape.rank, shape.d_in), kept, shape.d_out, rows)


def _kept_columns(shape: LayerShape, bias: Tensor | None) -> CompressedLinear:
    kept = _split(shape.d_in, shape.rank)[0].sort().values
    return KeptColumns(_weights(shape.d_out, shape.rank), kept, shape.d_in, bias)


_MAKERS: Mapping[str, Callable[[LayerShape, Tensor | None], CompressedLinear]] = {
    DenseLinear.form: _dense,
    LowRank.form: _low_rank,
    InputIdentity.form: _input_identity,
    OutputIdentity.form: _output_identity,
    HeadIdentity.form: _head_identity,
    KeptRows.form: _kept_rows,
    KeptColumns.form: _kept_columns,
}


def _weights(*shape: int) -> Tensor:
    return torch.randn(*shape) * SPREAD


def _split(size: int, first: int) -> tuple[Tensor, Tensor]:
    order = torch.randperm(size)
    return order[:first], order[first:]
