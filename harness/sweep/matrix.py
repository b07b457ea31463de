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
from harness.errors import UsageError
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


@dataclass(frozen=True)
class _Point:
    """One place of the matrix; without a method it is a dense reference."""

    model: ModelEntry
    task: TaskEntry
    method: MethodEntry
    ratio: float
    seed: int

    def matches(self, when: When) -> bool:
        own = {
            "model": self.model.name,
            "method": self.method.name,
            "ratio": self.ratio,
            "task": self.task.name,
            "seed": self.seed,
        }
        return all(own[key] == value for key, value in when.model_dump(exclude_none=True).items())


def requests(recipe: Recipe, output: Path) -> list[Request]:
    """One request for each cell: the dense references first, each once, then the others.

    A request of a dense reference has no methods; all others have one method, ratio and task.

    Raises:
        UsageError: a method, task or option does not exist, or an override matches no cell.
    """
    points = list(_points(recipe))
    for number, override in enumerate(recipe.overrides, start=1):
        if not any(point.matches(override.when) for point in points):
            raise UsageError(f"override {number} matches no cell; correct its 'when', or remove it")
    cells = [
        _request(recipe, point, settings, output)
        for point in points
        if not (settings := _settings(recipe, point)).skip
    ]
    return _distinct([*map(reference, cells), *cells])


def reference(request: Request) -> Request:
    """The dense cell that ``request`` is compared with."""
    return Request(
        methods={},
        ratios=(),
        tasks=request.tasks,
        model=request.model,
        calibration=TEXT_CALIBRATION,  # not read, but part of what tells requests apart
        dtype=request.dtype,
        device=request.device,
        seed=request.seed,
        batch_size=request.batch_size,
        output=request.output,
    )


def _points(recipe: Recipe) -> Iterator[_Point]:
    methods = recipe.methods or (MethodEntry(name=DENSE),)
    ratios = recipe.ratios or (0.0,)
    for axes in product(recipe.models, recipe.tasks, methods, ratios, recipe.seeds):
        yield _Point(*axes)


def _settings(recipe: Recipe, point: _Point) -> OverrideSettings:
    """All overrides of ``point`` as one."""
    merged: dict[str, Any] = {}
    for override in recipe.overrides:
        if point.matches(override.when):
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


def _distinct(cells: list[Request]) -> list[Request]:
    """Without repetitions; where and how fast a cell runs does not make it another."""
    distinct: dict[str, Request] = {}
    for cell in cells:
        # Options are told apart by type too: True is no 1.
        key = repr((cell.model, cell.methods, cell.ratios, cell.tasks, cell.calibration,
                    cell.scope, cell.dtype, cell.seed))  # fmt: skip
        distinct.setdefault(key, cell)
    return list(distinct.values())
