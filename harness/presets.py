"""Whole protocols in one word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.spec import CalibrationSpec


@dataclass(frozen=True)
class Preset:
    """Defaults that a preset replaces; what the user passes explicitly still wins."""

    calibration: CalibrationSpec
    tasks: tuple[str, ...]
    method_options: Mapping[str, Any]


PRESETS = {
    # The paper's language-model experiments and the code base they build on: 64 segments of
    # 2048 tokens from the first C4 shard, each block calibrated behind the compressed ones.
    "paper": Preset(
        calibration=CalibrationSpec(
            text="c4", samples=64, length=2048, sampling="documents", seed=0
        ),
        tasks=("wikitext2", "ptb", "c4"),
        method_options={"propagation": "sequential"},
    ),
}
