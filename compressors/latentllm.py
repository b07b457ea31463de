"""LatentLLM: query with key, value with output, up with down compressed jointly.

Each pair that is not joint is compressed locally with the root covariance. The joint problems are
in ``compressors.joint``, their algebra in ``harness.algebra``.
Source: the paper's section on joint tensor compression and its appendix.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from compressors.asvd_rootcov import precondition
from compressors.joint.config import Config, Pair
from compressors.joint.problem import Problem, rank_in_heads
from compressors.joint.query_key import free_basis, query_key
from compressors.joint.up_down import up_down
from compressors.joint.value_output import value_output
from harness.algebra.ranks import has_identity
from harness.compression.local import compress_locally, local_shapes
from harness.plugin import (
    BlockStatistics,
    BlockWeights,
    CompressedLinear,
    HeadIdentity,
    LayerShape,
    Role,
)

JOINT_ROLES: dict[Pair, tuple[Role, ...]] = {
    "qk": ("query", "key"),
    "vo": ("value", "output"),
    "ud": ("down",),
}
"""Layers each joint problem solves for; UD starts from the local gate and up."""


@dataclass(frozen=True)
class LatentLLM:
    """The paper's method."""

    summary: str = "LatentLLM: joint compression of QK, VO and UD"
    config: type[Config] = Config

    def needs_mlp_tokens(self, config: Config) -> bool:
        """The joint MLP fit reads sampled tokens."""
        return "ud" in config.joint

    def compress(
        self, block: BlockWeights, statistics: BlockStatistics, keep: float, config: Config
    ) -> Mapping[Role, CompressedLinear]:
        """Compress one block (see ``Compressor.compress``)."""
        if keep == 1 and not has_identity(config.junction):
            return compress_locally(block, statistics, keep, config, precondition)
        jointly = {role for pair in config.joint for role in JOINT_ROLES[pair]}
        alone = {role: layer for role, layer in block.layers.items() if role not in jointly}
        rest = replace(block, layers=alone)
        factors = compress_locally(rest, statistics, keep, config, precondition)
        problem = Problem(block, statistics, keep, config)
        if "qk" in config.joint:
            factors |= query_key(problem)
        if "vo" in config.joint:
            factors |= value_output(problem)
        if "ud" in config.joint:
            factors |= up_down(problem, factors)
        return factors

    def shapes(self, block: BlockWeights, keep: float, config: Config) -> Mapping[Role, LayerShape]:
        """What ``compress`` will return (see ``PredictsShapes``).

        Weights with a head of deficient rank get a plain block identity instead of one per head.
        """
        shapes = local_shapes(block, keep, config)
        heads = block.attention.kv_heads
        read_by_head: dict[Pair, tuple[Role, bool]] = {
            "qk": ("key", free_basis(block)),
            "vo": ("value", True),
        }
        for pair, (role, free) in read_by_head.items():
            shape = block.layers[role].weight.shape
            rank = rank_in_heads(shape, heads, keep, config) if free else None
            if pair in config.joint and rank is not None:
                shapes[role] = replace(shapes[role], form=HeadIdentity.form, rank=rank, heads=heads)
        return shapes


plugin = LatentLLM()
