"""The names of a request become plugins with checked options, and data at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from harness.assets.kinds import ModelAsset, TextAsset
from harness.calibration.sources import resolve_calibration
from harness.checkpoints.manifest import is_saved
from harness.checkpoints.resolve import resolve_model
from harness.compression.compressor import Compressor, CompressorConfig, compressors
from harness.compression.foreign_code import model_type_of
from harness.errors import AssetError
from harness.evaluation.task import PreparedTask, Task, find_task
from harness.models.prompt import PromptSource
from harness.plugins.options import configure, spelled_out
from harness.records.spec import CalibrationSpec, MethodSpec, TaskSpec

if TYPE_CHECKING:
    from harness.experiments.cells import Cell

K = TypeVar("K")
V = TypeVar("V")

NamedTask = tuple[TaskSpec, PreparedTask]


@dataclass(frozen=True)
class Method:
    """A compressor with its checked options; without one the model is measured as it is."""

    spec: MethodSpec
    compressor: Compressor[Any] | None = None
    config: CompressorConfig = field(default_factory=CompressorConfig)


def method_of(name: str, options: Mapping[str, Any]) -> Method:
    """The method with every option spelled out.

    Raises:
        UsageError: there is no such method, or an option does not fit.
    """
    compressor = compressors.get(name)
    config = configure(compressor.config, options, name)
    return Method(MethodSpec(name=name, options=spelled_out(config, name)), compressor, config)


def prepared_task(task: TaskSpec) -> NamedTask:
    """The task with every option spelled out, and its data at hand.

    Raises:
        UsageError: there is no such task, or an option or the data does not fit.
        AssetError: the data cannot be had.
    """
    spelled, plugin, config = spelled_out_task(task)
    return spelled, plugin.prepare(task.name, task.data, config)


def spelled_out_task(task: TaskSpec) -> tuple[TaskSpec, Task[Any], Any]:
    """With every option, the task that it names, and those options checked.

    Raises:
        UsageError: there is no such task, or an option does not fit.
    """
    plugin = find_task(task.name)
    config = configure(plugin.config, task.options, task.name)
    options = spelled_out(config, task.name)
    return task.model_copy(update={"options": options}), plugin, config


@dataclass(frozen=True)
class Resolver:
    """How the names of a request become plugins and assets: each name is looked up once.

    ``unchanged`` are the cells of models as they are (see ``harness.experiments.cells``).
    """

    method: Callable[[tuple[str, Mapping[str, Any]]], Method] = field(
        default_factory=lambda: once(_method_named)
    )
    model: Callable[[str], ModelAsset] = field(default_factory=lambda: once(resolve_model))
    task: Callable[[TaskSpec], NamedTask] = field(default_factory=lambda: once(prepared_task))
    model_type: Callable[[Path], str] = field(default_factory=lambda: once(model_type_of))
    saved: Callable[[Path], bool] = field(default_factory=lambda: once(is_saved))
    calibration: Callable[[CalibrationSpec], TextAsset | PromptSource] = field(
        default_factory=lambda: once(resolve_calibration, _data_of)
    )
    unchanged: dict[str, Cell] = field(default_factory=dict)


def _method_named(named: tuple[str, Mapping[str, Any]]) -> Method:
    return method_of(*named)


def _data_of(calibration: CalibrationSpec) -> str:
    """What tells apart the data of calibrations: not how much of it is drawn, nor the seed."""
    return f"{calibration.sampling == 'prompts'} {calibration.text}"


def once(look_up: Callable[[K], V], key_of: Callable[[K], str] = repr) -> Callable[[K], V]:
    """``look_up`` that is called once for each key; what cannot be had stays so."""
    known: dict[str, V | AssetError] = {}

    def remembered(name: K) -> V:
        key = key_of(name)
        if key not in known:
            try:
                known[key] = look_up(name)
            except AssetError as error:
                known[key] = error
        value = known[key]
        if isinstance(value, AssetError):
            raise value
        return value

    return remembered
