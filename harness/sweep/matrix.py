"""From a recipe to its cells, as pure data: nothing is fetched and no model is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from harness.calibration.presets import TEXT_CALIBRATION
from harness.calibration.sources import chosen_calibration
from harness.compression.compressor import compressors
from harness.evaluation.task import find_task
from harness.experiments.request import Request
from harness.plugins.options import configure
from harness.records.spec import DENSE, CalibrationSpec, TaskSpec
from harness.sweep.recipe import (
    CalibrationEntry,
    MethodEntry,
    ModelEntry,
    OverrideSettings,
    Recipe,
    TaskEntry,
    When,
)

_UNCHANGED = OverrideSettings()


@dataclass(frozen=True)
class _Point:
    """One place of the matrix; without a method it is a dense reference."""

    model: ModelEntry
    task: TaskEntry
    method: MethodEntry
    ratio: float
    seed: int
    place: str = ""

    def matches(self, when: When) -> bool:
        return all(
            wanted in (None, own)
            for wanted, own in (
                (when.model, self.model.name),
                (when.method, self.method.name),
                (when.ratio, self.ratio),
                (when.task, self.task.name),
                (when.seed, self.seed),
            )
        )


def requests(recipe: Recipe, output: Path) -> list[Request]:
    """One request for each cell: the dense references first, each once, then the others.

    A request of a dense reference has no methods; all others have one method, ratio and task.

    Raises:
        UsageError: a method, task or option does not exist.
    """
    cells = [
        _request(recipe, point, settings, output)
        for point in _points(recipe)
        if not (settings := _settings(recipe, point)).skip
    ]
    return [*_references(cells), *_distinct(cells)]


def reference(request: Request) -> Request:
    """The dense cell that ``request`` is compared with."""
    return Request(
        methods={},
        ratios=(),
        tasks=request.tasks,
        model=request.model,
        calibration=TEXT_CALIBRATION,  # not read
        dtype=request.dtype,
        device=request.device,
        seed=request.seed,
        batch_size=request.batch_size,
        output=request.output,
        place=request.place,
    )


def _points(recipe: Recipe) -> Iterator[_Point]:
    methods = recipe.methods or (MethodEntry(name=DENSE),)
    ratios = recipe.ratios or (0.0,)
    places = [recipe.where("tasks", at) for at in range(len(recipe.tasks))]
    tasks = list(zip(recipe.tasks, places, strict=True))
    axes = product(recipe.models, tasks, methods, ratios, recipe.seeds)
    for model, (task, place), method, ratio, seed in axes:
        yield _Point(model, task, method, ratio, seed, place)


def _settings(recipe: Recipe, point: _Point) -> OverrideSettings:
    """All overrides of ``point`` as one."""
    matching = [override for override in recipe.overrides if point.matches(override.when)]
    if not matching:
        return _UNCHANGED
    merged: dict[str, Any] = {}
    for override in matching:
        for key, value in override.set.model_dump(exclude_unset=True).items():
            merged[key] = merged.get(key, {}) | value if isinstance(value, dict) else value
    return OverrideSettings.model_validate(merged)


def _request(recipe: Recipe, point: _Point, settings: OverrideSettings, output: Path) -> Request:
    options = dict(point.method.options) | settings.options
    task = _task(point.task, settings)
    dense = point.method.name == DENSE
    if not dense:
        configure(compressors.get(point.method.name).config, options, point.method.name)
    layers = (settings, point.model, recipe)

    def setting(name: str) -> Any:
        return next(v for layer in layers if (v := getattr(layer, name)) is not None)

    calibration = _calibration(recipe.calibration, settings.calibration, task, point.seed)
    request = Request(
        methods={point.method.name: options},
        ratios=(point.ratio,),
        tasks=(task,),
        model=point.model.name,
        calibration=calibration,
        scope=setting("scope"),
        dtype=setting("dtype"),
        device=setting("device"),
        batch_size=setting("batch_size"),
        output=output,
        place=point.place,
    )
    return reference(request) if dense else request


def _task(entry: TaskEntry, settings: OverrideSettings) -> TaskSpec:
    options = entry.options | settings.task_options
    configure(find_task(entry.name).config, options, entry.name)
    return TaskSpec(
        name=entry.name, data=entry.data, limit=settings.limit or entry.limit, options=options
    )


def _calibration(
    common: CalibrationEntry, own: CalibrationEntry, task: TaskSpec, seed: int
) -> CalibrationSpec:
    entry = CalibrationEntry.model_validate(
        common.model_dump(exclude_none=True) | own.model_dump(exclude_none=True)
    )
    calibration = chosen_calibration(
        entry.text,
        samples=entry.samples,
        length=entry.length,
        self_samples=entry.self_samples or 0,
        seed=seed,
    )
    return calibration if isinstance(calibration, CalibrationSpec) else calibration(task.name)


def _references(cells: list[Request]) -> list[Request]:
    distinct: dict[tuple[str, ...], Request] = {}
    for cell in cells:
        key = (cell.model, repr(cell.tasks), cell.dtype, str(cell.seed))
        if key not in distinct:
            distinct[key] = reference(cell)
    return list(distinct.values())


def _distinct(cells: list[Request]) -> list[Request]:
    """Without repetitions; where and how fast a cell runs does not make it another."""
    distinct: dict[tuple[object, ...], Request] = {}
    for cell in cells:
        if cell.methods:  # else it is a reference
            # Options are told apart by type too: True is no 1.
            written = repr((cell.methods, cell.tasks))
            key = (cell.model, written, cell.ratios, cell.calibration, cell.scope, cell.dtype,
                   cell.seed)  # fmt: skip
            distinct.setdefault(key, cell)
    return list(distinct.values())
