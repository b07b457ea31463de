"""How a compressed model came about: enough to make it again."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from harness.records.document import Document, digest
from harness.records.record import DataFacts, ModelFacts
from harness.records.spec import CalibrationSpec, Dtype, MethodSpec, Ratio, Scope


class Origin(Document):
    """The model that was compressed, by what, and on which data.

    ``model`` is the dense one. ``calibration`` is None where the samples were not drawn by
    a specification. ``plugins`` is the code of others that took part, by what it is.
    """

    model: ModelFacts
    method: MethodSpec
    ratio: Ratio
    scope: Scope
    dtype: Dtype
    calibration: CalibrationSpec | None
    data: DataFacts
    plugins: dict[str, str] = Field(default_factory=dict)

    @property
    def compression_digest(self) -> str:
        """See the function of this name."""
        return compression_digest(
            self.model.fingerprint,
            self.method,
            self.ratio,
            self.scope,
            self.dtype,
            self.calibration,
            self.data.fingerprint,
            self.plugins,
        )


def compression_digest(
    model: str,
    method: MethodSpec,
    ratio: float,
    scope: Scope,
    dtype: Dtype,
    calibration: CalibrationSpec | None,
    data: str,
    plugins: Mapping[str, str],
) -> str:
    """SHA-256 of what decides the weights; ``model`` and ``data`` are content hashes."""
    spec = calibration.model_dump(mode="json") if calibration else None
    parts = [model, method.model_dump(mode="json"), ratio, scope, dtype, spec, data]
    return digest([*parts, dict(plugins)] if plugins else parts)
