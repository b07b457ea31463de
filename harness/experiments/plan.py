"""From a request to cells: everything is resolved and named before a model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from harness.assets.kinds import ModelAsset, TextAsset
from harness.checkpoints.destinations import save_targets
from harness.checkpoints.manifest import is_saved
from harness.checkpoints.saved_record import read_saved_record
from harness.errors import UsageError
from harness.evaluation.task import PreparedTask
from harness.experiments.request import Request
from harness.experiments.resolve import Method, NamedTask, Resolver, method_of, spelled_out_task
from harness.models.prompt import PromptSource
from harness.plugins.options import label
from harness.records import store
from harness.records.provenance import compression_digest
from harness.records.record import DataFacts, RunRecord
from harness.records.spec import DENSE, CalibrationSpec, Dtype, MethodSpec, RunSpec, Scope, TaskSpec


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

    ``source`` is None for a model measured as it is; ``save`` is where the compressed model is to
    be written, None for nowhere or where it is already.
    """

    method: Method
    ratio: float
    source: Source | None
    cells: tuple[Cell, ...]
    save: Path | None = None

    @property
    def to_do(self) -> bool:
        """Whether a cell is pending or the model is not saved yet."""
        return bool(self.pending or self.save)

    @property
    def pending(self) -> list[Cell]:
        """Cells without a complete record."""
        return [cell for cell in self.cells if cell.done is None]


@dataclass(frozen=True)
class Plan:
    """All variants, the model as it is first, and the model they share.

    Those of one calibration stand together.
    """

    request: Request
    asset: ModelAsset
    variants: tuple[Variant, ...]


@dataclass(frozen=True)
class _Making:
    """How the model of a cell came about; ``data`` is the content hash of the calibration."""

    method: MethodSpec
    ratio: float = 0.0
    calibration: CalibrationSpec | None = None
    data: str = ""
    scope: Scope = "language"


def make_plan(request: Request, lookups: Resolver | None = None) -> Plan:
    """Resolve assets and data, check every option, and look up finished cells.

    ``lookups`` are shared by those who make many plans.

    Raises:
        UsageError: a name, option or ratio is wrong, calibration and evaluation are the same data,
            a compressed model is to be compressed again, or a folder to save to is taken.
        AssetError: a model or data cannot be had.
    """
    lookups = lookups or Resolver()
    methods = [method_of(name, options) for name, options in request.methods.items()]
    named = [lookups.task(task) for task in request.tasks]
    asset = lookups.model(request.model)
    cells = partial(_cell, request, asset)
    made = _as_it_is(request, asset, named)
    references = [cells(made, task, None) for task in named]
    variants: list[Variant] = []
    for source, members in _sources(request, named, lookups) if methods else ():
        for method in methods:
            for ratio in request.ratios:
                making = _Making(
                    method.spec, ratio, source.spec, source.data.fingerprint, request.scope
                )
                cells_of = tuple(cells(making, named[i], references[i].run_id) for i in members)
                variants.append(Variant(method, ratio, source, cells_of))
    first = Variant(Method(made.method), made.ratio, None, tuple(references))
    return Plan(request, asset, (first, *_with_targets(request, asset, variants)))


def _as_it_is(request: Request, asset: ModelAsset, named: Sequence[NamedTask]) -> _Making:
    """Dense, or as a saved model says it was made."""
    if not is_saved(asset.folder):
        return _Making(MethodSpec(name=DENSE))
    origin = read_saved_record(asset.folder).origin
    if request.methods:
        raise UsageError(
            f"{request.model} is compressed already and can only be measured; leave out methods, "
            f"or compress {origin.model.reference}"
        )
    for _, prepared in named:
        _require_other_data(origin.data, prepared.data)
    return _Making(
        origin.method, origin.ratio, origin.calibration, origin.data.fingerprint, origin.scope
    )


def _with_targets(
    request: Request, asset: ModelAsset, variants: Sequence[Variant]
) -> list[Variant]:
    """The variants with the folders their models are to be saved to."""
    if request.save is None:
        return list(variants)
    several = len({variant.source.spec for variant in variants if variant.source}) > 1
    names: list[tuple[str, str]] = []
    for variant in variants:
        assert variant.source is not None
        name = f"{label(variant.method.spec.name, variant.method.config)}-{variant.ratio:g}"
        if several:
            name = f"{name}-{variant.source.data.reference}"
        digest = compression_digest_of(
            asset, variant.method, variant.ratio, variant.source, request.scope, request.dtype
        )
        names.append((name, digest))
    targets = save_targets(request.save, names, request.force)
    return [replace(one, save=target) for one, target in zip(variants, targets, strict=True)]


def compression_digest_of(
    asset: ModelAsset, method: Method, ratio: float, source: Source, scope: Scope, dtype: Dtype
) -> str:
    """The ``compression_digest`` of a model that is yet to be made."""
    return compression_digest(
        asset.fingerprint, method.spec, ratio, scope, dtype, source.spec, source.data.fingerprint
    )


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
        return _spec(request, _Making(method, ratio, calibration, scope=request.scope), spelled)
    return _spec(request, _Making(MethodSpec(name=DENSE)), spelled)


def _sources(
    request: Request, named: Sequence[NamedTask], lookups: Resolver
) -> list[tuple[Source, list[int]]]:
    """Each calibration with the positions of the tasks it serves."""
    members: dict[CalibrationSpec, list[int]] = {}
    for position, (task, _) in enumerate(named):
        members.setdefault(request.calibration_for(task.name), []).append(position)
    sources = [(Source(spec, lookups.calibration(spec)), some) for spec, some in members.items()]
    for source, some in sources:
        for i in some:
            _require_other_data(source.data, named[i][1].data)
    return sources


def _require_other_data(
    calibration: TextAsset | PromptSource | DataFacts, evaluation: DataFacts
) -> None:
    if calibration.fingerprint == evaluation.fingerprint:
        raise UsageError(
            f"'{calibration.reference}' is both calibration and evaluation data, so the "
            "result would flatter; pass another --calibration"
        )


def _cell(
    request: Request, asset: ModelAsset, made: _Making, named: NamedTask, reference: str | None
) -> Cell:
    task, prepared = named
    spec = _spec(request, made, task)
    run_id = spec.run_id(asset.fingerprint, made.data, prepared.data.fingerprint)
    found = None if request.force else store.find(request.output, run_id)
    done = found if found and found.status == "complete" else None
    return Cell(spec, run_id, prepared, reference, done)


def _spec(request: Request, made: _Making, task: TaskSpec) -> RunSpec:
    try:
        return RunSpec(
            model=request.model,
            method=made.method,
            ratio=made.ratio,
            calibration=made.calibration,
            task=task,
            scope=made.scope,
            dtype=request.dtype,
            seed=request.seed,
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(
            f"{first['loc'][0]} of the request: {first['msg'].lower()}, got {first['input']!r}"
        ) from error
