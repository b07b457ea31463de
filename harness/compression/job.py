"""What is to be done to a model, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.calibration.text import Calibration
from harness.compression.compressor import Compressor, CompressorConfig, DataFree
from harness.plugins.options import label, spelled_out
from harness.records.spec import MethodSpec, Scope, require_ratio


@dataclass(frozen=True)
class CompressionJob:
    """One method at one ratio on one calibration.

    Attributes:
        method: registered name of ``compressor``, for the label.
        compressor: the method.
        config: its options.
        ratio: share of the compressed layers' parameters to remove, ``0 <= ratio < 1``; at 0 all
            layers stay as they are.
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

    def reads_data(self, *, biased: bool) -> bool:
        """Whether the result depends on the calibration; ``biased`` as for ``DataFree``."""
        if not self.ratio:
            return False
        if isinstance(self.compressor, DataFree):
            return not self.compressor.ignores_data(self.config, biased=biased)
        return True

    @property
    def label(self) -> str:
        """The method as tables name it."""
        return label(self.method, self.config)

    @property
    def spec(self) -> MethodSpec:
        """The method with all its options."""
        return MethodSpec(name=self.method, options=spelled_out(self.config, self.method))
