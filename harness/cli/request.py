"""From the command line of ``harness run`` to a request."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any

import torch

from harness.calibration import default_calibration, names_prompts, prompt_calibration
from harness.cli.options import add_plugin_options, chosen, split_task
from harness.compressor import Compressor, compressors
from harness.errors import UsageError
from harness.plan import Request
from harness.presets import DEFAULT_TASKS, PRESETS, PROMPT_SAMPLES, TEXT_CALIBRATION
from harness.registry import Registry
from harness.spec import CalibrationSpec, TaskSpec, require_ratio
from harness.task import Task, plugin_name, tasks


def add_options_of(
    parser: argparse.ArgumentParser, methods: Iterable[str], named_tasks: Iterable[str]
) -> None:
    """The options that these methods and tasks declare.

    Raises:
        UsageError: there is no such method.
    """
    add_plugin_options(parser, "method", {name: compressors.get(name).config for name in methods})
    plugins = dict.fromkeys(plugin_name(split_task(task)[0]) for task in named_tasks)
    add_plugin_options(parser, "task", {name: tasks.get(name).config for name in plugins})


def add_options_of_all(parser: argparse.ArgumentParser) -> None:
    """The options of every method and task that loads."""
    add_plugin_options(parser, "method", _configs(compressors))
    add_plugin_options(parser, "task", _configs(tasks))


def request(arguments: argparse.Namespace) -> Request:
    """What ``arguments`` ask for.

    Raises:
        UsageError: an option is wrong or belongs to no chosen method or task.
    """
    given = vars(arguments)
    preset = PRESETS.get(arguments.preset)
    for name, least in {"samples": 1, "length": 2, "batch_size": 1, "limit": 1}.items():
        if (number := given.get(name)) is not None and number < least:
            flag = name.replace("_", "-")
            raise UsageError(f"--{flag} must be at least {least}, got {number}")
    return Request(
        methods=_methods(arguments),
        ratios=_ratios(arguments.ratio),
        tasks=_tasks(arguments, preset.tasks if preset else DEFAULT_TASKS),
        model=arguments.model,
        calibration=_calibration(given, preset.calibration if preset else TEXT_CALIBRATION),
        scope=arguments.scope,
        dtype=arguments.dtype,
        device=_device(given.get("device")),
        seed=arguments.seed,
        batch_size=arguments.batch_size,
        output=arguments.output,
        force=arguments.force,
    )


def _calibration(
    given: dict[str, Any], text: CalibrationSpec
) -> CalibrationSpec | Callable[[str], CalibrationSpec]:
    samples, seed = given.get("samples"), given["seed"]
    reference = given.get("calibration")
    if reference and names_prompts(reference):
        if "length" in given:
            raise UsageError("--length is for texts; calibration questions are taken whole")
        return prompt_calibration(reference, samples or PROMPT_SAMPLES, seed)
    changes = {"length": given.get("length", text.length)}
    if reference:
        changes |= {"text": reference, "sampling": "windows"}
    text = text.model_copy(update=changes)
    if reference:
        return text.model_copy(update={"samples": samples or text.samples, "seed": seed})
    return partial(default_calibration, text=text, samples=samples, seed=seed)


def _methods(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    for name in arguments.method:
        compressors.get(name)
    return chosen(
        arguments, "method", _configs(compressors), {name: name for name in arguments.method}
    )


def _ratios(ratios: list[float]) -> list[float]:
    for ratio in ratios:
        require_ratio(ratio)
    return list(dict.fromkeys(ratios))


def _tasks(arguments: argparse.Namespace, standard: tuple[str, ...]) -> list[TaskSpec]:
    named = dict.fromkeys(split_task(text) for text in getattr(arguments, "tasks", standard))
    plugin = {name: plugin_name(name) for name, _ in named}
    written = {served: name for name, served in plugin.items()}
    options = chosen(arguments, "task", _configs(tasks), written)
    return [
        TaskSpec(name=name, data=data, limit=arguments.limit, options=options[plugin[name]])
        for name, data in named
    ]


def _device(device: str | None) -> str:
    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=device).item()  # the meta device has no values
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f"device '{device}' cannot be used here; pass --device cpu") from error
    return device


def _configs(registry: Registry[Compressor] | Registry[Task]) -> dict[str, type[Any]]:
    """Options of every plugin that loads; a broken one raises its error only when chosen."""
    found: dict[str, type[Any]] = {}
    for name in registry.names():
        with suppress(UsageError):
            found[name] = registry.get(name).config
    return found
