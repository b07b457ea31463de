"""LatentLLM: query with key, value with output, up with down compressed jointly.

Each pair that is not joint is compressed locally with the root covariance. The joint problems are
in ``compressors.joint``, their algebra in ``harness.algebra``.
Source: the paper's section on joint tensor compression and its appendix.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field

from compressors import asvd_rootcov
from compressors.joint.problem import Problem, rank_in_heads
from compressors.joint.query_key import free_basis, query_key
from compressors.joint.up_down import up_down
from compressors.joint.value_output import value_output
from compressors.local import DampedConfig, local_forms
from harness.algebra.ranks import Junction, has_identity
from harness.compression.compressor import BlockStatistics
from harness.layers.factors import Factor, HeadIdentity
from harness.layers.roles import Role
from harness.layers.shapes import Form
from harness.layers.weights import BlockWeights

Pair = Literal["qk", "vo", "ud"]
JOINT_ROLES: dict[Pair, tuple[Role, ...]] = {
    "qk": ("query", "key"),
    "vo": ("value", "output"),
    "ud": ("down",),
}
"""Layers each joint problem solves for; UD starts from the local gate and up."""


@dataclass(frozen=True, kw_only=True)
class Config(DampedConfig):
    """Options of ``latentllm``.

    Attributes:
        joint: which pairs are compressed jointly: query and key (qk), value and output (vo), up and
            down (ud).
        iterations: rounds of each alternating optimisation after the first.
        rope_window: relative offsets in tokens that rotary query and key are averaged over;
            1 ignores the rotation, all is the limit of an infinite window.
        vo_statistics: value and output jointly from the block's input alone (input), or the output
            projection from what it really reads (output).
        head_junction: store an identity block in each value head too, and without rotary
            embedding in each key head (the paper's ``J_i``), and spend what that saves on rank.
            Only with the block-identity junction.
    """

    junction: Junction = "block-identity"
    joint: tuple[Pair, ...] = ("qk", "vo", "ud")
    iterations: Annotated[int, Field(ge=0)] = 4
    rope_window: Annotated[int, Field(ge=1)] | Literal["all"] = 10
    vo_statistics: Literal["input", "output"] = "output"
    head_junction: bool = True


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
    ) -> Mapping[Role, Factor]:
        """Compress one block (see ``Compressor.compress``)."""
        if keep == 1 and not has_identity(config.junction):
            return asvd_rootcov.plugin.compress(block, statistics, keep, config)
        jointly = {role for pair in config.joint for role in JOINT_ROLES[pair]}
        alone = {role: layer for role, layer in block.layers.items() if role not in jointly}
        factors = dict(
            asvd_rootcov.plugin.compress(replace(block, layers=alone), statistics, keep, config)
        )
        problem = Problem(block, statistics, keep, config)
        if "qk" in config.joint:
            factors |= query_key(problem)
        if "vo" in config.joint:
            factors |= value_output(problem)
        if "ud" in config.joint:
            factors |= up_down(problem, factors)
        return factors

    def forms(self, block: BlockWeights, keep: float, config: Config) -> Mapping[Role, Form]:
        """What ``compress`` will return (see ``Foreseeable``).

        Weights with a head of deficient rank get a plain block identity instead of one per head.
        """
        forms = local_forms(block, keep, config)
        heads = block.attention.kv_heads
        read_by_head: dict[Pair, tuple[Role, bool]] = {
            "qk": ("key", free_basis(block)),
            "vo": ("value", True),
        }
        for pair, (role, free) in read_by_head.items():
            shape = block.layers[role].weight.shape
            rank = rank_in_heads(shape, heads, keep, config) if free else None
            if pair in config.joint and rank is not None:
                forms[role] = replace(forms[role], form=HeadIdentity.form, rank=rank, heads=heads)
        return forms


plugin = LatentLLM()
