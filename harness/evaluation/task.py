"""The task seam: a task measures a model it is handed and knows nothing of methods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from harness.plugins.registry import Registry
from harness.records.record import DataFacts
from harness.records.results import TaskResult
from harness.records.spec import RunSpec
from harness.support.progress import Tracker, silent

if TYPE_CHECKING:
    from harness.models.language_model import LanguageModel
    from harness.models.prompt import PromptSource


@dataclass(frozen=True)
class Conditions:
    """How to evaluate: none of this changes what is measured, except ``limit``.

    ``batch_size`` is where the automatic back-off on out-of-memory starts. ``limit`` keeps the
    first that many units (windows, documents).
    """

    batch_size: int = 8
    limit: int | None = None
    seed: int = 0
    track: Tracker = silent


class PreparedTask(Protocol):
    """A task whose data is at hand."""

    data: DataFacts

    def evaluate(self, subject: LanguageModel, conditions: Conditions) -> TaskResult:
        """Measure ``subject``.

        Raises:
            NonFiniteError: the model gives NaN or infinity.
        """


@runtime_checkable
class Renamed(Protocol):
    """A prepared task that once went by another fingerprint, ``former``, which left code out."""

    former: str


C = TypeVar("C")


@runtime_checkable
class Task(Protocol[C]):
    """A plugin of the ``harness.tasks`` group, with options of type ``C``."""

    @property
    def summary(self) -> str:
        """The task in one line."""

    @property
    def config(self) -> type[C]:
        """Frozen dataclass of this task's options."""

    def prepare(self, name: str, data: str | None, config: C) -> PreparedTask:
        """Fetch the data, before any model is loaded.

        Args:
            name: the task's name as the user gave it.
            data: reference or local path that replaces the task's own data.
            config: an instance of ``self.config``.

        Raises:
            AssetError: the data cannot be had; says what to pass instead.
            UsageError: the data or an option does not fit this task.
        """


@runtime_checkable
class Trained(Protocol):
    """A task whose data has a training split, which can serve as calibration."""

    def training(self, name: str, data: str | None) -> PromptSource:
        """The training split, disjoint from what the task evaluates.

        Args:
            name: the task's name as the user gave it.
            data: reference or local path that replaces the task's own training data.

        Raises:
            AssetError: the data cannot be had; says what to pass instead.
            UsageError: the data does not fit this task.
        """


tasks: Registry[Task[Any]] = Registry("harness.tasks", "task", Task)  # type: ignore[type-abstract]

FALLBACK = "lm-eval"
"""Serves every name and task file that no plugin claims."""

PREFIXED = "lmms-eval"
"""Serves every name and task file written ``lmms-eval:NAME``."""


def plugin_name(name: str) -> str:
    """The registered task that serves ``name``: of that name or prefix, else lm-eval."""
    if name.startswith(f"{PREFIXED}:"):
        return PREFIXED
    own = [task for task in tasks.names() if task != FALLBACK]
    return name if name in own else FALLBACK


def find_task(name: str) -> Task[Any]:
    """The plugin for ``name``; it is given the whole name when it prepares."""
    return tasks.get(plugin_name(name))


def task_code(spec: RunSpec) -> dict[str, str]:
    """What decides what the tasks of ``spec`` do that are not ours; see ``harness.plugins.code``.

    Both the one that is measured and the one whose questions the calibration takes.
    """
    named = [spec.task.name]
    if spec.calibration and spec.calibration.sampling == "prompts":
        named.append(spec.calibration.text)
    codes = {f"task {name}": tasks.code(plugin_name(name)) for name in named}
    return {what: code for what, code in codes.items() if code}
