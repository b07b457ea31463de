"""Options of ``latentllm``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from harness.plugin import DampedConfig, Junction

Pair = Literal["qk", "vo", "ud"]


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
    iterations: Annotated[int, Field(ge=0, le=1000)] = 4
    rope_window: Annotated[int, Field(ge=1, le=1_000_000)] | Literal["all"] = 10
    vo_statistics: Literal["input", "output"] = "output"
    head_junction: bool = True
