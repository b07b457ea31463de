"""Local compression shared by SVD and all ASVD variants: each layer on its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from pydantic import Field
from torch import Tensor

from harness.algebra.lowrank import best_product
from harness.algebra.preconditioners import Preconditioner
from harness.algebra.rank_allocation import discarded
from harness.algebra.rank_curves import RankCurve, rank_curve, shared_by
from harness.algebra.ranks import has_identity, rank_for
from harness.compression.compressor import BiasUpdate, CompressorConfig, RankedConfig
from harness.layers.factors import CompressedLinear, DenseLinear
from harness.layers.junction import join
from harness.layers.predicted import dense_shape, joined_shape
from harness.layers.roles import SITE_OF_ROLE, Role, Site
from harness.layers.shapes import LayerShape
from harness.layers.weights import BlockWeights, LinearWeights
from harness.statistics.block_statistics import BlockStatistics
from harness.statistics.moments import Moments

Damping = Annotated[float, Field(ge=0, le=1_000_000)]


@dataclass(frozen=True, kw_only=True)
class DampedConfig(CompressorConfig):
    """Options of methods that damp the second moment.

    Attributes:
        damping: diagonal added to the inputs' second moment, relative to its mean diagonal.
    """

    damping: Damping = 0.01


@dataclass(frozen=True, kw_only=True)
class LocalConfig(DampedConfig, RankedConfig):
    """Options of damped methods that compress each layer on its own."""


C = TypeVar("C", bound=CompressorConfig)
R = TypeVar("R", bound=RankedConfig)

Precondition = Callable[[Moments, Tensor, C], Preconditioner]
"""``P`` from the moments and ``C`` of what enters a layer, already centred where a bias absorbs
the mean."""


@dataclass(frozen=True)
class Local(Generic[R]):
    """A method defined by its preconditioner alone, which is ``blind`` if it reads no moments."""

    summary: str
    config: type[R]
    precondition: Precondition[R]
    blind: bool = False

    def ignores_data(self, config: R, *, biased: bool) -> bool:
        """See ``DataFree``: neither ranks nor biases read data either."""
        updates = {"always": True, "auto": biased, "never": False}[config.bias_update]
        return self.blind and not updates and config.ranks == "uniform"

    def needs_mlp_tokens(self, config: R) -> bool:  # noqa: ARG002
        """Moments suffice."""
        return False

    def compress(
        self, block: BlockWeights, statistics: BlockStatistics, keep: float, config: R
    ) -> Mapping[Role, CompressedLinear]:
        """Compress every layer of ``block`` by itself (see ``Compressor.compress``)."""
        return compress_locally(block, statistics, keep, config, self.precondition)

    def shapes(self, block: BlockWeights, keep: float, config: R) -> Mapping[Role, LayerShape]:
        """What ``compress`` will return (see ``PredictsShapes``)."""
        return local_shapes(block, keep, config)

    def rank_curves(
        self, block: BlockWeights, statistics: BlockStatistics, config: R
    ) -> Sequence[RankCurve[Mapping[Role, int]]]:
        """Mean squared output gradient times the output error (see ``Ranking.rank_curves``).

        The error at each rank is that of the directions which the method itself would discard.
        """
        assert statistics.backward is not None
        curves = []
        for role, layer, read in local_inputs(block, statistics, config, self.precondition):
            W = layer.weight.double()
            directions = best_product(W, read.preconditioner, min(W.shape)).A
            gradients = statistics.backward.gradients[role]
            weight = gradients.count * gradients.second.diagonal().mean()
            losses = weight * discarded(((directions @ read.C) * directions).sum(1))
            curve = rank_curve(losses, W.shape, config.junction, config.multiple)
            curves.append(shared_by(curve, role))
        return curves

    def compress_to(
        self,
        block: BlockWeights,
        statistics: BlockStatistics,
        ranks: Mapping[Role, int],
        config: R,
    ) -> Mapping[Role, CompressedLinear]:
        """Compress every layer of ``block`` by itself (see ``Ranking.compress_to``)."""
        return {
            role: dense(layer)
            if ranks[role] == min(layer.weight.shape)
            else compress_layer(layer, read, ranks[role], config)
            for role, layer, read in local_inputs(block, statistics, config, self.precondition)
        }


@dataclass(frozen=True)
class LayerInput:
    """What enters a layer: ``C``, centred where a bias absorbs the mean, and the mean."""

    C: Tensor
    mean: Tensor
    preconditioner: Preconditioner


def compress_locally(
    block: BlockWeights,
    statistics: BlockStatistics,
    keep: float,
    config: C,
    precondition: Precondition[C],
) -> dict[Role, CompressedLinear]:
    """Every layer of ``block`` by itself, within ``keep`` of its parameters.

    Raises:
        NonFiniteError: weights or statistics hold NaN or infinity.
        UsageError: a rank rounds to zero.
    """
    if _keeps_all(keep, config):
        return {role: dense(layer) for role, layer in block.layers.items()}
    return {
        role: compress_layer(
            layer, read, rank_for(layer.weight.shape, keep, config.junction), config
        )
        for role, layer, read in local_inputs(block, statistics, config, precondition)
    }


def local_inputs(
    block: BlockWeights, statistics: BlockStatistics, config: C, precondition: Precondition[C]
) -> Iterator[tuple[Role, LinearWeights, LayerInput]]:
    """Every layer of ``block`` with what enters it; layers that read the same share it."""
    known: dict[tuple[Site, bool], LayerInput] = {}
    for role, layer in block.layers.items():
        moments = statistics.moments[SITE_OF_ROLE[role]]
        centred = updates_bias(layer, config.bias_update)
        place = (SITE_OF_ROLE[role], centred)
        if place not in known:
            second = moments.covariance() if centred else moments.second
            known[place] = LayerInput(second, moments.mean, precondition(moments, second, config))
        yield role, layer, known[place]


def dense(layer: LinearWeights) -> CompressedLinear:
    """The layer as it is."""
    return DenseLinear(layer.weight.double(), layer.bias)


def local_shapes(
    block: BlockWeights, keep: float, config: CompressorConfig
) -> dict[Role, LayerShape]:
    """The shapes of layers that are compressed each by itself."""
    if _keeps_all(keep, config):
        return {role: dense_shape(layer) for role, layer in block.layers.items()}
    return {
        role: joined_shape(
            layer,
            keep,
            config.junction,
            bias=layer.bias is not None or updates_bias(layer, config.bias_update),
        )
        for role, layer in block.layers.items()
    }


def compress_layer(
    layer: LinearWeights, read: LayerInput, rank: int, config: CompressorConfig
) -> CompressedLinear:
    """Best form of one layer with the given rank."""
    W = layer.weight.double()
    product = best_product(W, read.preconditioner, rank)
    bias = updated_bias(layer, W, product.dense(), read.mean, config.bias_update)
    return join(product, read.preconditioner, config.junction, bias)


def _keeps_all(keep: float, config: CompressorConfig) -> bool:
    """Whether a layer stays dense; with an identity block nothing is lost at full rank."""
    return keep == 1 and not has_identity(config.junction)


def updates_bias(layer: LinearWeights, policy: BiasUpdate) -> bool:
    """Whether the layer's bias will absorb the mean error."""
    return policy == "always" or (policy == "auto" and layer.bias is not None)


def updated_bias(
    layer: LinearWeights, W: Tensor, W_hat: Tensor, mean: Tensor, policy: BiasUpdate
) -> Tensor | None:
    """``b + (W - W_hat) mu`` where the policy asks for it (appendix, equation 43)."""
    if not updates_bias(layer, policy):
        return layer.bias
    correction = (W - W_hat) @ mean
    return correction if layer.bias is None else layer.bias.to(correction) + correction
