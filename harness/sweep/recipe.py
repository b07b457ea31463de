"""What may stand in a recipe."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, PrivateAttr, model_validator

from harness.records.document import Document
from harness.records.limits import BatchSize, Length, Limit, Samples, Seed, SelfSamples
from harness.records.spec import Dtype, Option, Ratio, Scope
from harness.support.yaml_lines import YamlFile


class ModelEntry(Document):
    """A model by reference; what it sets replaces the recipe's own."""

    name: str
    dtype: Dtype | None = None
    batch_size: BatchSize | None = None
    device: str | None = None
    scope: Scope | None = None


class MethodEntry(Document):
    """A method with its options; may stand in a recipe several times with different ones."""

    name: str
    options: dict[str, Option] = Field(default_factory=dict)


class TaskEntry(Document):
    """A task with its options; ``data`` replaces its own data."""

    name: str
    data: str | None = None
    limit: Limit | None = None
    options: dict[str, Option] = Field(default_factory=dict)


class CalibrationEntry(Document):
    """What of the standard calibration is replaced."""

    text: str | None = None
    samples: Samples | None = None
    self_samples: SelfSamples | None = None
    length: Length | None = None


class When(Document):
    """Which cells an override is for; what is absent matches all."""

    model: str | None = None
    method: str | None = None
    ratio: Ratio | None = None
    task: str | None = None
    seed: Seed | None = None


class OverrideSettings(Document):
    """What an override sets; ``options`` are the method's and are added to those it has."""

    skip: bool = False
    dtype: Dtype | None = None
    batch_size: BatchSize | None = None
    device: str | None = None
    scope: Scope | None = None
    limit: Limit | None = None
    options: dict[str, Option] = Field(default_factory=dict)
    task_options: dict[str, Option] = Field(default_factory=dict)
    calibration: CalibrationEntry = CalibrationEntry()


class Override(Document):
    """A change for the cells that ``when`` matches; a later override wins."""

    when: When
    set: OverrideSettings


class Recipe(Document):
    """Models x methods x ratios x calibration seeds x tasks.

    It names no output folder: where records go is said on the command line only.
    """

    models: Annotated[tuple[ModelEntry, ...], Field(min_length=1)]
    tasks: Annotated[tuple[TaskEntry, ...], Field(min_length=1)]
    methods: tuple[MethodEntry, ...] = ()
    ratios: tuple[Ratio, ...] = ()
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    calibration: CalibrationEntry = CalibrationEntry()
    scope: Scope = "language"
    dtype: Dtype = "float32"
    device: str = "cpu"
    batch_size: BatchSize = 8
    overrides: tuple[Override, ...] = ()
    _file: YamlFile | None = PrivateAttr(None)

    def read_from(self, file: YamlFile) -> Self:
        """The same, which knows where each part of it stands."""
        self._file = file
        return self

    def where(self, *place: str | int) -> str:
        """``FILE:LINE:COLUMN`` of a part, empty for a recipe that is no file."""
        return self._file.where(place) if self._file else ""

    @model_validator(mode="after")
    def _methods_have_ratios(self) -> Self:
        if bool(self.methods) != bool(self.ratios):
            raise ValueError("methods and ratios go together: give both or none")
        return self
