"""Which shapes factors will have, from those of the layers alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeVar, runtime_checkable

from harness.algebra.ranks import Junction, has_identity, rank_for
from harness.layers.factors import DenseLinear, LowRank
from harness.layers.roles import Role
from harness.layers.shapes import LayerShape
from harness.layers.weights import BlockWeights, LinearWeights

C_contra = TypeVar("C_contra", contravariant=True)


@runtime_checkable
class PredictsShapes(Protocol[C_contra]):
    """A compressor whose factors' shapes depend on those of the layers alone."""

    def shapes(
        self, block: BlockWeights, keep: float, config: C_contra
    ) -> Mapping[Role, LayerShape]:
        """The shapes of the factors that ``compress`` will return.

        Args:
            block: weights of which only shapes are read; they may be on the meta device.
            keep: share of each layer's parameters that may remain, ``0 < keep <= 1``.
            config: an instance of the compressor's ``config``.

        Raises:
            UsageError: a rank rounds to zero.
        """


def dense_shape(layer: LinearWeights) -> LayerShape:
    """The form of a layer that stays as it is."""
    d_out, d_in = layer.weight.shape
    return LayerShape(DenseLinear.form, d_out, d_in, min(d_out, d_in), layer.bias is not None)


def joined_shape(
    layer: LinearWeights, keep: float, junction: Junction, *, bias: bool
) -> LayerShape:
    """The form of a layer that is compressed within its own budget.

    Raises:
        UsageError: not even rank 1 fits.
    """
    d_out, d_in = layer.weight.shape
    form = junction if has_identity(junction) else LowRank.form
    return LayerShape(form, d_out, d_in, rank_for((d_out, d_in), keep, junction), bias)


def kept_shape(form: str, layer: LinearWeights, count: int, *, bias: bool) -> LayerShape:
    """The form of a layer of an MLP of which ``count`` neurons are kept."""
    d_out, d_in = layer.weight.shape
    return LayerShape(form, d_out, d_in, count, bias)
