"""What a person asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.assets.aliases import DEFAULT_MODEL
from harness.calibration.sources import default_calibration
from harness.records.spec import CalibrationSpec, Dtype, Scope, TaskSpec


@dataclass(frozen=True)
class Request:
    """What a person asks for: methods x ratios x tasks on one model.

    Attributes:
        model: alias, hub id, local folder, GGUF file or ``pypi:`` reference.
        methods: options of each method by its registered name.
        ratios: shares of parameters to remove, each ``0 <= ratio < 1``.
        tasks: what to measure.
        calibration: where activation statistics come from, for all tasks or for each by name.
        scope: which of the linear layers are compressed.
        dtype: of weights and activations.
        device: a torch device.
        seed: of evaluation (few-shot choice, bootstrap).
        batch_size: sequences per forward pass; only evaluations halve it when memory runs out.
        output: folder of records.
        force: run cells again that have a complete record, replace models that are saved.
        save: where compressed models go, several of them in folders below; None saves none.
        offload: keep models on disk and one block in memory at a time; changes no result.
        adapter: folder of an adapter that peft saved, for a model measured as it is.
        place: where in a recipe it is asked for, ``FILE:LINE:COLUMN``; empty for none.
    """

    methods: Mapping[str, Mapping[str, Any]]
    ratios: Sequence[float]
    tasks: Sequence[TaskSpec] = (TaskSpec(name="wiki-excerpt"),)
    model: str = DEFAULT_MODEL
    calibration: CalibrationSpec | Callable[[str], CalibrationSpec] = default_calibration
    scope: Scope = "language"
    dtype: Dtype = "float32"
    device: str = "cpu"
    seed: int = 0
    batch_size: int = 8
    output: Path = Path("results")
    force: bool = False
    save: Path | None = None
    offload: bool = False
    adapter: Path | None = None
    place: str = ""

    def calibration_for(self, task: str) -> CalibrationSpec:
        """What a compression that ``task`` measures is calibrated on."""
        given = self.calibration
        return given if isinstance(given, CalibrationSpec) else given(task)
