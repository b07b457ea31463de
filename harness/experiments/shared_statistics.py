"""Calibrations and statistics that the variants of a plan share."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.calibration.sources import draw
from harness.calibration.text import Calibration
from harness.experiments.calibration_source import CalibrationSource
from harness.experiments.plan import Plan, Variant
from harness.experiments.timings import Timed, Timings
from harness.models.language_model import LanguageModel
from harness.records.spec import CalibrationSpec
from harness.statistics import disk_cache
from harness.statistics.block_statistics import BlockStatistics
from harness.statistics.collect import collect
from harness.support.failures import failures_explained
from harness.support.progress import Tracker


def draw_calibrations(
    plan: Plan, variants: Iterable[Variant], dense: LanguageModel, timings: Timings, track: Tracker
) -> dict[CalibrationSpec | None, Timed[Calibration]]:
    """The calibrations of ``variants``, part of which the model may write.

    Raises:
        UsageError: the data hold less than is asked.
    """
    sources = {variant.source.spec: variant.source for variant in variants if variant.source}
    drawn: dict[CalibrationSpec | None, Timed[Calibration]] = {}
    for spec, source in sources.items():
        with timings.stage("draw"):
            calibration = draw(
                source.data, dense, spec, batch_size=plan.request.batch_size, track=track
            )
        drawn[spec] = Timed(calibration, timings["draw"])
    return drawn


class SharedStatistics:
    """Statistics of the untouched model, kept only as long as variants will read them."""

    def __init__(
        self,
        plan: Plan,
        dense: LanguageModel,
        timings: Timings,
        track: Tracker,
        folder: Path | None,
    ) -> None:
        """Collect statistics of ``dense``, through ``folder`` if other processes share them."""
        self._plan = plan
        self._dense = dense
        self._timings = timings
        self._track = track
        self._folder = folder
        self._calibrated_on: CalibrationSpec | None = None
        self._collected: dict[bool, Timed[list[BlockStatistics]]] = {}

    def calibrate_on(self, spec: CalibrationSpec) -> None:
        """Forget what was collected on other samples than those of ``spec``."""
        if self._calibrated_on != spec:
            self._calibrated_on = spec
            self._collected.clear()

    def read(
        self,
        variant: Variant,
        source: CalibrationSource,
        calibration: Calibration,
        waiting: Iterable[Variant],
    ) -> list[BlockStatistics]:
        """What ``variant`` reads; forgotten here unless one of ``waiting`` will read it too.

        Whether a method reads gradients changes the last digits of all moments, so that those with
        and without are collected apart: nothing depends on what else a run measures.
        """
        gradients = variant.method.config.reads_gradients
        if gradients not in self._collected:
            with self._timings.stage("calibrate"), failures_explained("calibration"):
                blocks = self._collect(source, calibration, gradients)
            self._collected[gradients] = Timed(blocks, self._timings["calibrate"])
        statistics = self._collected[gradients]
        self._timings["calibrate"] = statistics.seconds
        if not any(
            other.source
            and other.source.spec == self._calibrated_on
            and other.method.config.reads_original
            and other.method.config.reads_gradients == gradients
            for other in waiting
        ):
            del self._collected[gradients]
        return list(statistics.value)

    def _collect(
        self, source: CalibrationSource, calibration: Calibration, gradients: bool
    ) -> list[BlockStatistics]:
        """What all variants that read gradients, or all others, need together."""
        request, dense = self._plan.request, self._dense
        # Those of other processes may need the tokens, which are little beside the moments.
        tokens = self._folder is not None or any(
            variant.method.compressor is not None
            and variant.method.config.propagation == "original"
            and variant.method.compressor.needs_mlp_tokens(variant.method.config)
            for variant in self._plan.variants
        )

        def build() -> list[BlockStatistics]:
            return collect(
                dense.model,
                dense.family.blocks(dense.model, request.scope),
                calibration,
                batch_size=request.batch_size,
                keep_mlp_tokens=tokens,
                gradients=gradients,
                track=self._track,
            )

        if self._folder is None:
            return build()
        device = dense.model.device
        # All that can change a digit of them.
        origin = {
            "weights": self._plan.asset.fingerprint,
            "data": source.data.fingerprint,
            "calibration": source.spec.model_dump_json(),
            "scope": request.scope,
            "dtype": request.dtype,
            "batch size": str(request.batch_size),
            "device": device.type,
            "gradients": "fisher and influence" if gradients else "none",
        }
        return disk_cache.shared(self._folder, origin, device, build)
