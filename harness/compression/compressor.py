"""The compressor seam: a method turns weights and statistics into factors."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, TypeVar, runtime_checkable

from pydantic import Field

from harness.algebra.ranks import Junction
from harness.errors import UsageError
from harness.layers.roles import Role
from harness.plugins.ranges import Advice
from harness.plugins.registry import Registry

if TYPE_CHECKING:
    from harness.algebra.drift import Drift
    from harness.algebra.rank_curves import RankCurve
    from harness.layers.factors import CompressedLinear
    from harness.layers.weights import BlockWeights
    from harness.statistics.block_statistics import BlockStatistics

BiasUpdate = Literal["auto", "always", "never"]
Propagation = Literal["original", "sequential"]
Ranks = Literal["uniform", "fisher"]


@dataclass(frozen=True, kw_only=True)
class CompressorConfig:
    """Options every method has.

    Attributes:
        junction: how the two factors of a layer are stored: with the singular values in the left
            one, in the right one or in both alike (symmetric); or with an identity block, which
            costs nothing, in the one that reads (block-identity) or in the one that writes
            (block-identity-output).
        bias_update: whether biases absorb the mean error: where a layer has one (auto), for all
            layers (always; biases are created), or not at all (never).
        propagation: statistics from a model whose earlier blocks are already compressed
            (sequential), or from the untouched model (original), which several methods and
            ratios in one run then share.
    """

    junction: Junction = "left"
    bias_update: BiasUpdate = "auto"
    propagation: Propagation = "sequential"

    @property
    def reads_gradients(self) -> bool:
        """Whether the method needs ``BlockStatistics.backward``, that of the untouched model."""
        return False

    @property
    def reads_original(self) -> bool:
        """Whether the method needs statistics of the untouched model."""
        return self.propagation == "original" or self.reads_gradients

    @property
    def compensates(self) -> bool:
        """Whether the method is a ``Compensating`` one and is to be asked for it."""
        return False


@dataclass(frozen=True, kw_only=True)
class RankedConfig(CompressorConfig):
    """Options of methods that can say what each rank of a layer would cost the model.

    Attributes:
        ranks: the same share of every layer (uniform), or whatever loses least under the budget
            of all layers together, by the Fisher information of the loss (fisher).
        multiple: number that all fisher ranks are multiples of, as fast kernels like them; a layer
            that no such rank makes smaller, or for which there is budget enough, stays dense.
    """

    ranks: Ranks = "uniform"
    multiple: Annotated[
        int,
        Field(ge=1, le=1_000_000),
        Advice("no rank is a multiple of {}; pass --multiple 1 or more"),
    ] = 1

    def __post_init__(self) -> None:
        """Refuse what cannot be done.

        Raises:
            UsageError: a multiple of uniform ranks.
        """
        if self.multiple > 1 and self.ranks != "fisher":
            raise UsageError(
                f"ranks '{self.ranks}' are the largest that fit each layer, not multiples of "
                f"{self.multiple}; pass --ranks fisher, or leave out --multiple"
            )

    @property
    def reads_gradients(self) -> bool:
        """Fisher ranks do."""
        return self.ranks == "fisher"


C = TypeVar("C", bound=CompressorConfig)
C_contra = TypeVar("C_contra", bound=CompressorConfig, contravariant=True)
R_contra = TypeVar("R_contra", bound=RankedConfig, contravariant=True)


@runtime_checkable
class Compressor(Protocol[C]):
    """A plugin of the ``harness.compressors`` group, with options of type ``C``."""

    @property
    def summary(self) -> str:
        """The method in one line."""

    @property
    def config(self) -> type[C]:
        """Frozen dataclass of this method's options."""

    def needs_mlp_tokens(self, config: C) -> bool:
        """Whether ``compress`` reads ``BlockStatistics.mlp_tokens``."""

    def compress(
        self, block: BlockWeights, statistics: BlockStatistics, keep: float, config: C
    ) -> Mapping[Role, CompressedLinear]:
        """Factors for every layer of ``block`` within ``keep`` of its parameters.

        Args:
            block: weights in any floating dtype; the work is done in float64.
            statistics: of the same block.
            keep: share of each layer's parameters that may remain, ``0 < keep <= 1``.
            config: an instance of ``self.config``.

        Raises:
            NonFiniteError: weights or statistics hold NaN or infinity.
            UsageError: a rank rounds to zero, or an option does not fit the block.
        """


@runtime_checkable
class Ranking(Protocol[R_contra]):
    """A compressor whose config is a ``RankedConfig``: its ranks may differ from layer to layer."""

    def rank_curves(
        self, block: BlockWeights, statistics: BlockStatistics, config: R_contra
    ) -> Sequence[RankCurve[Mapping[Role, int]]]:
        """What each rank of a layer, or the ranks of several together, cost and lose.

        Returns:
            A curve for each layer, or for several together; the last choice of each are the
            layers as they are. Losses are in one unit for all blocks.

        Raises:
            NonFiniteError: weights or statistics hold NaN or infinity.
        """

    def compress_to(
        self,
        block: BlockWeights,
        statistics: BlockStatistics,
        ranks: Mapping[Role, int],
        config: R_contra,
    ) -> Mapping[Role, CompressedLinear]:
        """Factors of the given ranks for every layer of ``block``.

        Those of the last rank of a curve are the layers themselves.

        Raises:
            NonFiniteError: weights or statistics hold NaN or infinity.
        """


@runtime_checkable
class Compensating(Ranking[R_contra], Protocol[R_contra]):
    """A compressor that fits layers to what really enters them."""

    def uniform_ranks(
        self, block: BlockWeights, keep: float, config: R_contra
    ) -> Mapping[Role, int]:
        """The ranks of the factors that ``compress`` returns.

        Raises:
            UsageError: a rank rounds to zero.
        """

    def waiting(
        self, block: BlockWeights, ranks: Mapping[Role, int]
    ) -> Mapping[Role, Collection[Role]]:
        """What is to be fitted, by ``compensate``, when an input has drifted as far as it will.

        Returns:
            For layers that write to the residual stream, in order: themselves and what else is
            fitted with them. Layers that stay dense wait for nothing.
        """

    def compensate(
        self,
        role: Role,
        block: BlockWeights,
        statistics: BlockStatistics,
        drift: Drift,
        rank: int,
        config: R_contra,
    ) -> Mapping[Role, CompressedLinear]:
        """Factors of rank ``rank`` for ``role`` and all that is fitted with it.

        Args:
            role: one of ``WRITING_ROLES``.
            block: as it was.
            statistics: those that ``compress`` would be given.
            drift: what enters the layer while all before it but those fitted with it, which are
                dense, are compressed.
            rank: of the factors.
            config: an instance of ``self.config``.

        Raises:
            NonFiniteError: statistics hold NaN or infinity.
        """


@runtime_checkable
class DataFree(Protocol[C_contra]):
    """A compressor that may do without calibration."""

    def ignores_data(self, config: C_contra, *, biased: bool) -> bool:
        """Whether no statistics change what ``compress`` returns.

        Those that it is given then are of inputs of mean 0 and unit covariance.

        Args:
            config: an instance of ``self.config``.
            biased: whether a layer to be compressed has a bias.
        """


compressors: Registry[Compressor[Any]] = Registry(
    "harness.compressors",
    "method",
    Compressor,  # type: ignore[type-abstract]
)
