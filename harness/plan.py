"""From a request to cells: everything is resolved and named before a model is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from harness import store
from harness.assets.aliases import DEFAULT_MODEL
from harness.assets.kinds import ModelAsset, TextAsset
from harness.assets.models import resolve_model
from harness.calibration import default_calibration, resolve_calibration
from harness.compressor import Compressor, CompressorConfig, compressors
from harness.errors import AssetError, UsageError
from harness.options import configure, spelled_out
from harness.prompt import PromptSource
from harness.record import RunRecord
from harness.spec import DENSE, CalibrationSpec, Dtype, MethodSpec, RunSpec, Scope, TaskSpec
from harness.task import PreparedTask, Task, find_task

K = TypeVar("K")
V = TypeVar("V")


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
        batch_size: where the back-off on out-of-memory starts.
        output: folder of records.
        force: run cells again that have a complete record.
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
class Source:
    """Calibration data at hand and what is drawn from it."""

    spec: CalibrationSpec
    data: TextAsset | PromptSource


@dataclass(frozen=True)
class Variant:
    """A method at a ratio on one calibration, with one cell a task; they share all work.

    ``source`` is None for the dense reference.
    """

    method: Method
    ratio: float
    source: Source | None
    cells: tuple[Cell, ...]

    @property
    def pending(self) -> list[Cell]:
        """Cells without a complete record."""
        return [cell for cell in self.cells if cell.done is None]


@dataclass(frozen=True)
class Plan:
    """All variants, the dense one first, and the model they share.

    Those of one calibration stand together.
    """

    request: Request
    asset: ModelAsset
    variants: tuple[Variant, ...]


NamedTask = tuple[TaskSpec, PreparedTask]


def make_plan(request: Request, lookups: Lookups | None = None) -> Plan:
    """Resolve assets and data, check every option, and look up finished cells.

    ``lookups`` are shared by those who make many plans.

    Raises:
        UsageError: a name, option or ratio is wrong, or calibration and evaluation are the same
            data.
        AssetError: a model or data cannot be had.
    """
    lookups = lookups or Lookups()
    methods = [_method(name, options) for name, options in request.methods.items()]
    named = [lookups.task(task) for task in request.tasks]
    asset = lookups.model(request.model)
    cells = partial(_cell, request, asset)
    dense = Method(MethodSpec(name=DENSE))
    references = [cells(dense, 0.0, None, task, None) for task in named]
    variants = [Variant(dense, 0.0, None, tuple(references))]
    for source, members in _sources(request, named, lookups) if methods else ():
        for method in methods:
            for ratio in request.ratios:
                cells_of = tuple(
                    cells(method, ratio, source, named[i], references[i].run_id) for i in members
                )
                variants.append(Variant(method, ratio, source, cells_of))
    return Plan(request, asset, tuple(variants))


def spec_of(request: Request) -> RunSpec:
    """The spec of a request for a single cell, whether or not its model and data can be had.

    Raises:
        UsageError: a name, option or ratio is wrong.
    """
    (task,) = request.tasks
    spelled = _spelled_out(task)[0]
    for name, options in request.methods.items():
        (ratio,) = request.ratios
        calibration = _calibration(request, task.name)
        return _spec(request, _method(name, options).spec, ratio, calibration, spelled)
    return _spec(request, MethodSpec(name=DENSE), 0.0, None, spelled)


def _method(name: str, options: Mapping[str, Any]) -> Method:
    compressor = compressors.get(name)
    config = configure(compressor.config, options, name)
    return Method(MethodSpec(name=name, options=spelled_out(config, name)), compressor, config)


def prepared_task(task: TaskSpec) -> NamedTask:
    """The task with every option spelled out, and its data at hand.

    Raises:
        UsageError: there is no such task, or an option or the data does not fit.
        AssetError: the data cannot be had.
    """
    spelled, plugin, config = _spelled_out(task)
    return spelled, plugin.prepare(task.name, task.data, config)


def _spelled_out(task: TaskSpec) -> tuple[TaskSpec, Task, Any]:
    plugin = find_task(task.name)
    config = configure(plugin.config, task.options, task.name)
    options = spelled_out(config, task.name)
    return task.model_copy(update={"options": options}), plugin, config


def _calibration(request: Request, task: str) -> CalibrationSpec:
    given = request.calibration
    return given if isinstance(given, CalibrationSpec) else given(task)


@dataclass(frozen=True)
class Lookups:
    """How the names of a request become assets: each name is looked up once."""

    model: Callable[[str], ModelAsset] = field(default_factory=lambda: once(resolve_model))
    task: Callable[[TaskSpec], NamedTask] = field(default_factory=lambda: once(prepared_task))
    calibration: Callable[[CalibrationSpec], TextAsset | PromptSource] = field(
        default_factory=lambda: once(resolve_calibration)
    )


def once(look_up: Callable[[K], V]) -> Callable[[K], V]:
    """``look_up`` that is called once for each argument; what cannot be had stays so."""
    known: dict[str, V | AssetError] = {}

    def remembered(name: K) -> V:
        key = repr(name)
        if key not in known:
            try:
                known[key] = look_up(name)
            except AssetError as error:
                known[key] = error
        found = known[key]
        if isinstance(found, AssetError):
            raise found
        return found

    return remembered


def _sources(
    request: Request, named: Sequence[NamedTask], lookups: Lookups
) -> list[tuple[Source, list[int]]]:
    """Each calibration with the positions of the tasks it serves."""
    members: dict[CalibrationSpec, list[int]] = {}
    for position, (task, _) in enumerate(named):
        members.setdefault(_calibration(request, task.name), []).append(position)
    sources = [(Source(spec, lookups.calibration(spec)), some) for spec, some in members.items()]
    for source, some in sources:
        if any(named[i][1].data.fingerprint == source.data.fingerprint for i in some):
            raise UsageError(
                f"'{source.data.reference}' is both calibration and evaluation data, so the "
                "result would flatter; pass another --calibration"
            )
    return sources


def _cell(
    request: Request,
    asset: ModelAsset,
    method: Method,
    ratio: float,
    source: Source | None,
    named: NamedTask,
    reference: str | None,
) -> Cell:
    task, prepared = named
    spec = _spec(request, method.spec, ratio, source.spec if source else None, task)
    run_id = spec.run_id(
        asset.fingerprint, source.data.fingerprint if source else "", prepared.data.fingerprint
    )
    found = None if request.force else store.find(request.output, run_id)
    done = found if found and found.status == "complete" else None
    return Cell(spec, run_id, prepared, reference, done)


def _spec(
    request: Request,
    method: MethodSpec,
    ratio: float,
    calibration: CalibrationSpec | None,
    task: TaskSpec,
) -> RunSpec:
    try:
        return RunSpec(
            model=request.model,
            method=method,
            ratio=ratio,
            calibration=calibration,
            task=task,
            scope=request.scope if calibration else "language",
            dtype=request.dtype,
            seed=request.seed,
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(
            f"{first['loc'][0]} of the request: {first['msg'].lower()}, got {first['input']!r}"
        ) from error
