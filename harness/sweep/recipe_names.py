"""Names of a recipe that stand for nothing, found before anything is fetched or loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from harness.calibration.sources import chosen_calibration
from harness.checkpoints.resolve import require_model_name
from harness.compression.compressor import compressors
from harness.errors import UsageError, unknown
from harness.evaluation.task import find_task
from harness.plugins.options import option_mistakes
from harness.records.spec import DENSE
from harness.support.yaml_lines import Place
from harness.sweep.recipe import (
    CalibrationEntry,
    MethodEntry,
    ModelEntry,
    Override,
    Recipe,
    TaskEntry,
)

Mistakes = Iterator[tuple[Place, str]]


def entry_mistakes(
    key: str, entry: ModelEntry | MethodEntry | TaskEntry, options: Mapping[str, Any]
) -> Mistakes:
    """Of an entry of the list ``key`` with its ``options``; places start within the entry."""
    if isinstance(entry, ModelEntry):
        yield from _tried(("name",), lambda: require_model_name(entry.name))
        yield from device_mistakes(entry.device)
    elif not (key == "methods" and entry.name == DENSE):
        try:
            config = _config(key, entry.name)
        except UsageError as error:
            yield ("name",), str(error)
        else:
            for name, text in option_mistakes(config, options, entry.name):
                yield ("options", name), text


def device_mistakes(device: str | None) -> Mistakes:
    """Of what is no device anywhere; whether it is there is for the workers to see."""
    try:
        torch.device(device or "cpu")
    except RuntimeError:
        yield ("device",), f"'{device}' is no torch device; cpu and cuda:0 are"


def calibration_mistakes(entry: CalibrationEntry) -> Mistakes:
    """Of entries that exclude each other."""
    yield from _tried(
        (),
        lambda: chosen_calibration(
            entry.text,
            samples=entry.samples,
            length=entry.length,
            self_samples=entry.self_samples or 0,
        ),
    )


def override_mistakes(recipe: Recipe, override: Override) -> Mistakes:
    """Of an override that matches nothing, or sets what its cells have not."""
    axes: Mapping[str, list[Any]] = {
        "model": [entry.name for entry in recipe.models],
        "method": [entry.name for entry in recipe.methods] or [DENSE],
        "ratio": list(recipe.ratios) or [0.0],
        "task": [entry.name for entry in recipe.tasks],
        "seed": list(recipe.seeds),
    }
    when = override.when.model_dump(exclude_none=True)
    missed = [name for name, value in when.items() if value not in axes[name]]
    for name in missed:
        hint = str(unknown(name, str(when[name]), map(str, axes[name]))).partition("; ")[2]
        yield ("when", name), f"the override matches no cell: no {name} is {when[name]}; {hint}"
    if missed:
        return
    yield from device_mistakes(override.set.device)
    for key, names, options in (
        ("methods", [when.get("method")] * ("method" in when) or axes["method"], "options"),
        ("tasks", [when.get("task")] * ("task" in when) or axes["task"], "task_options"),
    ):
        for name in dict.fromkeys(names):
            if key == "methods" and name == DENSE:
                continue
            given = getattr(override.set, options)
            for option, text in option_mistakes(_config(key, name), given, name) if given else ():
                yield ("set", options, option), text


def _config(key: str, name: str) -> type[Any]:
    plugin = compressors.get(name) if key == "methods" else find_task(name)
    config: type[Any] = plugin.config
    return config


def _tried(place: Place, check: Callable[[], object]) -> Mistakes:
    try:
        check()
    except UsageError as error:
        yield place, str(error)
