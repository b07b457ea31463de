"""Local compression shared by SVD and all ASVD variants: each layer on its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from harness.algebra.junction import join
from harness.algebra.lowrank import best_product
from harness.algebra.preconditioners import Preconditioner
from harness.algebra.ranks import has_identity, rank_for
from harness.block import BlockWeights, LinearWeights
from harness.compressor import BiasUpdate, BlockStatistics, CompressorConfig
from harness.factors import Dense, Factor
from harness.forms import Form, dense_form, joined_form
from harness.roles import SITE_OF_ROLE, Role, Site
from harness.statistics.moments import Moments


@dataclass(frozen=True, kw_only=True)
class DampedConfig(CompressorConfig):
    """Options of methods that damp the second moment.

    Attributes:
        damping: diagonal added to it, relative to its mean diagonal.
    """

    damping: float = 0.01


@dataclass(frozen=True)
class Local:
    """A method defined by its preconditioner alone.

    ``precondition(moments, C, config)`` receives ``C`` already centred where a bias absorbs the
    mean.
    """

    summary: str
    config: type[CompressorConfig]
    precondition: Callable[[Moments, Tensor, Any], Preconditioner]

    def needs_mlp_tokens(self, config: Any) -> bool:  # noqa: ARG002
        """Moments suffice."""
        return False

    def compress(
        self, block: BlockWeights, statistics: BlockStatistics, keep: float, config: Any
    ) -> Mapping[Role, Factor]:
        """Compress every layer of ``block`` by itself (see ``Compressor.compress``)."""
        known: dict[tuple[Site, bool], Preconditioner] = {}
        factors: dict[Role, Factor] = {}
        for role, layer in block.layers.items():
            moments = statistics.moments[SITE_OF_ROLE[role]]
            centred = updates_bias(layer, config.bias_update)
            place = (SITE_OF_ROLE[role], centred)
            if place not in known:
                C = moments.covariance() if centred else moments.second
                known[place] = self.precondition(moments, C, config)
            factors[role] = compress_layer(layer, moments, known[place], keep, config)
        return factors

    def forms(self, block: BlockWeights, keep: float, config: Any) -> Mapping[Role, Form]:
        """What ``compress`` will return (see ``Foreseeable``)."""
        return local_forms(block, keep, config)


def local_forms(block: BlockWeights, keep: float, config: CompressorConfig) -> dict[Role, Form]:
    """The forms of layers that are compressed each by itself."""
    if _keeps_all(keep, config):
        return {role: dense_form(layer) for role, layer in block.layers.items()}
    return {
        role: joined_form(
            layer,
            keep,
            config.junction,
            bias=layer.bias is not None or updates_bias(layer, config.bias_update),
        )
        for role, layer in block.layers.items()
    }


def compress_layer(
    layer: LinearWeights,
    moments: Moments,
    preconditioner: Preconditioner,
    keep: float,
    config: CompressorConfig,
) -> Factor:
    """Best low-rank form of one layer; kept dense where nothing is to be removed."""
    W = layer.weight.double()
    if _keeps_all(keep, config):
        return Dense(W, layer.bias)
    product = best_product(W, preconditioner, rank_for(W.shape, keep, config.junction))
    bias = updated_bias(layer, W, product.dense(), moments.mean, config.bias_update)
    return join(product, preconditioner, config.junction, bias)


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
