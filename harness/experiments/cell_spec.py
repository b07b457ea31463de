"""The spec of each cell, which its record is named by."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from harness.errors import UsageError
from harness.experiments.request import Request
from harness.experiments.resolve import method_of, spelled_out_task
from harness.records.spec import DENSE, CalibrationSpec, MethodSpec, RunSpec, Scope, TaskSpec


@dataclass(frozen=True)
class CompressionSpec:
    """How the model of a cell is compressed; ``data`` is the content hash of the calibration."""

    method: MethodSpec
    ratio: float = 0.0
    calibration: CalibrationSpec | None = None
    data: str = ""
    scope: Scope = "language"


def spec_of(request: Request) -> RunSpec:
    """The spec of a request for a single cell, whether or not its model and data can be had.

    Raises:
        UsageError: a name, option or ratio is wrong.
    """
    (task,) = request.tasks
    spelled = spelled_out_task(task)[0]
    for name, options in request.methods.items():
        (ratio,) = request.ratios
        calibration = request.calibration_for(task.name)
        method = method_of(name, options).spec
        return cell_spec(
            request, CompressionSpec(method, ratio, calibration, scope=request.scope), spelled
        )
    return cell_spec(request, CompressionSpec(MethodSpec(name=DENSE)), spelled)


def cell_spec(request: Request, compression: CompressionSpec, task: TaskSpec) -> RunSpec:
    """The spec of one cell; raises ``UsageError`` for a value that is not allowed."""
    try:
        return RunSpec(
            model=request.model,
            method=compression.method,
            ratio=compression.ratio,
            calibration=compression.calibration,
            task=task,
            scope=compression.scope,
            dtype=request.dtype,
            seed=request.seed,
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(
            f"{first['loc'][0]} of the request: {first['msg'].lower()}, got {first['input']!r}"
        ) from error
