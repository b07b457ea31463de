"""Options of ``latentllm``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from compressors.local import DampedConfig
from harness.algebra.ranks import Junction
from harness.algebra.rotary import Window

Pair = Literal["qk", "vo", "ud"]


@dataclass(frozen=True, kw_only=True)
class Config(DampedConfig):
    """Options of ``latentllm``.

    Attributes:
        joint: which pairs are compressed jointly.
        iterations: rounds of each alternating optimisation after the first.
        rope_window: relative offsets in tokens that rotary query and key are averaged over;
            1 ignores the rotation, "all" is the limit of an infinite window.
        vo_statistics: value and output jointly from the block's input alone, or the output
            projection from what it really reads.
        head_junction: store an identity block in each value head too, and without rotary
            embedding in each key head (the paper's ``J_i``), and spend what that saves on rank.
            Only with the block-identity junction.
    """

    junction: Junction = "block-identity"
    joint: tuple[Pair, ...] = ("qk", "vo", "ud")
    iterations: int = 4
    rope_window: Window = 10
    vo_statistics: Literal["input", "output"] = "output"
    head_junction: bool = True
