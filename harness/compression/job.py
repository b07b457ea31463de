"""What is to be done to a model, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.calibration.text import Calibration
from harness.compression.compressor import Compressor, CompressorConfig
from harness.plugins.options import label, spelled_out
from harness.records.spec import MethodSpec, Scope, require_ratio


@dataclass(frozen=True)
class CompressionJob:
    """One method at one ratio on one calibration.

    Attributes:
        method: registered name of ``compressor``, for the label.
        compressor: the method.
        config: its options.
        ratio: share of the compressed layers' parameters to remove, ``0 <= ratio < 1``.
        calibration: what the statistics are taken over.
        scope: which of the model's linear layers are compressed.
        batch_size: sequences per forward pass.

    Raises:
        UsageError: the ratio is outside its range.
    """

    method: str
    compressor: Compressor[Any]
    config: CompressorConfig
    ratio: float
    calibration: Calibration
    scope: Scope = "language"
    batch_size: int = 8

    def __post_init__(self) -> None:
        require_ratio(self.ratio)

    @property
    def keep(self) -> float:
        """Share of the parameters that may remain."""
        return 1 - self.ratio

    @property
    def keeps_mlp_tokens(self) -> bool:
        """Whether statistics hold sampled inputs of the MLP."""
        return self.compressor.needs_mlp_tokens(self.config)

    @property
    def label(self) -> str:
        """The method as tables name it."""
        return label(self.method, self.config)

    @property
    def spec(self) -> MethodSpec:
        """The method with all its options."""
        return MethodSpec(name=self.method, options=spelled_out(self.config, self.method))
