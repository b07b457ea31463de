"""Whole protocols: what a run does unless told otherwise, and others by name."""

from __future__ import annotations

from dataclasses import dataclass

from harness.records.spec import CalibrationSpec

DEFAULT_TASKS = ("wiki-excerpt",)
TEXT_CALIBRATION = CalibrationSpec(text="c4-excerpt", samples=24, length=512)
PROMPT_SAMPLES = 64
"""As many training questions as the paper calibrates vision-language models on."""


@dataclass(frozen=True)
class Preset:
    """Defaults that a preset replaces; what the user passes explicitly still wins."""

    calibration: CalibrationSpec
    tasks: tuple[str, ...]


PRESETS = {
    # The paper's language-model experiments and the code base they build on: 64 segments of
    # 2048 tokens from the first C4 shard. Methods run with their defaults, which are the paper's.
    "paper": Preset(
        calibration=CalibrationSpec(
            text="c4", samples=64, length=2048, sampling="documents", seed=0
        ),
        tasks=("wikitext2", "ptb", "c4"),
    ),
}
