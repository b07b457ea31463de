"""From the command line of commands that compress to what they ask for."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch

from harness.calibration.presets import DEFAULT_TASKS, PRESETS, TEXT_CALIBRATION
from harness.calibration.sources import chosen_calibration, names_prompts
from harness.checkpoints.manifest import is_saved
from harness.checkpoints.resolve import resolve_model
from harness.cli.defaults import DEFAULT_METHOD, DEFAULT_RATIO, Kind
from harness.cli.options import split_task
from harness.cli.plugin_options import add_plugin_options, chosen
from harness.compression.compressor import Compressor, compressors
from harness.errors import UsageError
from harness.evaluation.task import Task, plugin_name, tasks
from harness.experiments.request import Request
from harness.plugins.registry import Registry
from harness.records.spec import DENSE, CalibrationSpec, TaskSpec

REGISTRIES: dict[Kind, Registry[Compressor[Any]] | Registry[Task[Any]]] = {
    "method": compressors,
    "task": tasks,
}


def add_options_of(parser: argparse.ArgumentParser, names: Mapping[Kind, Sequence[str]]) -> None:
    """The options that the plugins with these names declare, by kind.

    Raises:
        UsageError: there is no such method.
    """
    for kind, written in names.items():
        if kind == "method":
            configs = {name: compressors.get(name).config for name in written if name != DENSE}
        else:
            plugins = dict.fromkeys(plugin_name(split_task(task)[0]) for task in written)
            configs = {name: tasks.get(name).config for name in plugins}
        add_plugin_options(_group(parser, kind), kind, configs)


def add_options_of_all(parser: argparse.ArgumentParser, kinds: Sequence[Kind]) -> None:
    """The options of every plugin of ``kinds`` that loads."""
    for kind in kinds:
        add_plugin_options(_group(parser, kind), kind, option_classes(REGISTRIES[kind]))


def _group(parser: argparse.ArgumentParser, kind: Kind) -> argparse._ArgumentGroup:
    return parser.add_argument_group(f"options of {kind}s")


def request(arguments: argparse.Namespace) -> Request:
    """What ``arguments`` ask for.

    Raises:
        UsageError: an option is wrong or belongs to no chosen method or task.
    """
    given = vars(arguments)
    preset = PRESETS.get(arguments.preset)
    named = _tasks(arguments, preset.tasks if preset else DEFAULT_TASKS)
    return Request(
        methods=_methods(arguments),  # may look the model up, after all else is checked
        ratios=list(dict.fromkeys(given.get("ratio", [DEFAULT_RATIO]))),
        tasks=named,
        model=arguments.model,
        calibration=calibration_of(given, preset.calibration if preset else TEXT_CALIBRATION),
        scope=arguments.scope,
        dtype=arguments.dtype,
        device=placement(given.get("device")),
        seed=arguments.seed,
        batch_size=arguments.batch_size,
        output=arguments.output,
        force=arguments.force,
        save=arguments.save,
        offload=arguments.offload,
        adapter=given.get("adapter"),
    )


def calibration_of(
    given: Mapping[str, Any], text: CalibrationSpec = TEXT_CALIBRATION
) -> CalibrationSpec | Callable[[str], CalibrationSpec]:
    """The calibration that the options ``given`` ask for (see ``chosen_calibration``).

    Raises:
        UsageError: an option for texts beside questions.
    """
    reference = given.get("calibration") or None
    if reference and names_prompts(reference):
        for option in ("length", "self_samples"):
            if option in given:
                flag = option.replace("_", "-")
                raise UsageError(f"--{flag} is for texts; calibration questions are taken whole")
    return chosen_calibration(
        reference,
        samples=given.get("samples"),
        length=given.get("length"),
        self_samples=given.get("self_samples", 0),
        seed=given["seed"],
        text=text,
    )


def placement(device: str | None) -> str:
    """Where a model goes: ``auto``, over all accelerators, or as ``usable_device`` says."""
    return device if device == "auto" else usable_device(device)


def usable_device(device: str | None) -> str:
    """``device`` if it can be computed on; None takes a GPU where there is one.

    Raises:
        UsageError: it cannot.
    """
    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=device).item()  # the meta device has no values
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f"device '{device}' cannot be used here; pass --device cpu") from error
    return device


def option_classes(
    registry: Registry[Compressor[Any]] | Registry[Task[Any]],
) -> dict[str, type[Any]]:
    """Options of every plugin that loads; a broken one raises its error only when chosen."""
    classes: dict[str, type[Any]] = {}
    for name in registry.names():
        with suppress(UsageError):
            classes[name] = registry.get(name).config
    return classes


def _methods(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    names = getattr(arguments, "method", [DEFAULT_METHOD])
    if set(names) == {DENSE}:
        _require_nothing_to_compress(vars(arguments))
        return {}
    names = [name for name in names if name != DENSE]  # which is measured anyway
    if not _asks_to_compress(vars(arguments)) and (
        vars(arguments).get("adapter") or is_saved(resolve_model(arguments.model).folder)
    ):
        return {}
    for name in names:
        compressors.get(name)
    return chosen(
        arguments, "method", option_classes(compressors), dict(zip(names, names, strict=True))
    )


def _asks_to_compress(given: Mapping[str, Any]) -> bool:
    """Whether an option was given that has no meaning for a model that is compressed already."""
    return "method" in given or next(_for_compression(given), None) is not None


def _for_compression(given: Mapping[str, Any]) -> Iterator[str]:
    """The options among those ``given`` that say how to compress, or where to."""
    for name, value in given.items():
        if name in {"ratio", "calibration", "samples", "self_samples", "length"}:
            yield name
        elif name.startswith("method_option_"):
            yield name.removeprefix("method_option_")
        elif name == "save" and value is not None:
            yield name


def _require_nothing_to_compress(given: Mapping[str, Any]) -> None:
    for name in _for_compression(given):
        raise UsageError(
            f"--method {DENSE} measures the model as it is; leave out "
            f"--{name.replace('_', '-')}, or name a method that compresses"
        )


def _tasks(arguments: argparse.Namespace, standard: tuple[str, ...]) -> list[TaskSpec]:
    named = dict.fromkeys(split_task(text) for text in getattr(arguments, "tasks", standard))
    plugin = {name: plugin_name(name) for name, _ in named}
    written = {served: name for name, served in plugin.items()}
    options = chosen(arguments, "task", option_classes(tasks), written)
    return [
        TaskSpec(name=name, data=data, limit=arguments.limit, options=options[plugin[name]])
        for name, data in named
    ]
