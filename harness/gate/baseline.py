"""The baseline: what a gate remembers of each cell, as one file under version control."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, ValidationError, model_validator

from harness.errors import InfrastructureError, UsageError
from harness.records.document import Document, digest
from harness.records.observations import Observations, Unpaired, observe
from harness.records.record import RunRecord
from harness.records.spec import RunSpec
from harness.support.regular_files import require_regular

FALSE_ALARM = 0.01
"""Chance that a gate fails, in any of its cells, although none lost what matters."""

DECIMALS = 6
"""Of a sample's value: less than any difference that matters, and files stay small."""

Positive = Annotated[float, Field(gt=0)]


class SampleSet(Document):
    """The samples that several cells share; a single weight stands for all of them."""

    ids: Annotated[tuple[str, ...], Field(min_length=1)]
    weights: tuple[float, ...]


class BaselineCell(Document):
    """One cell as it was measured, and when a candidate is another one.

    Effects are changes of the mean for accuracies and the like, and of the logarithm for
    perplexities (0.01 is one percent).

    Attributes:
        title: the cell in a few words.
        spec: what was run; a candidate belongs to the cell by an equal one.
        commit: of the code, None when it was installed; ``harness`` is its version.
        weights, calibration, data: fingerprints of what was read.
        parameters: of the model as evaluated.
        metric, unit, higher_is_better, logarithmic, value: the headline.
        samples: name of its ``SampleSet``; ``values`` in the same order.
        draws: how many draws of the calibration sample ``spread`` is taken over.
        spread: standard deviation of the headline between them, None where nothing is drawn.
        minimum: the loss above which a candidate fails.
        suspicious: the gain above which it fails too.
        detectable: the loss that the gate finds in 80% of all cases, None where not known.
    """

    title: str
    spec: RunSpec
    harness: str
    commit: str | None
    weights: str
    calibration: str | None
    data: str
    parameters: int
    metric: str
    unit: str
    higher_is_better: bool
    logarithmic: bool
    value: float
    samples: str
    values: tuple[float, ...]
    draws: int
    spread: float | None
    minimum: Positive
    suspicious: Positive
    detectable: float | None

    @property
    def key(self) -> str:
        """What makes a record the candidate of this cell."""
        return cell_key(self.spec)


class Baseline(Document):
    """All cells of a gate; ``false_alarm`` holds for all of them together."""

    version: Literal[1] = 1
    false_alarm: Annotated[float, Field(gt=0, lt=1)] = FALSE_ALARM
    samples: dict[str, SampleSet]
    cells: Annotated[tuple[BaselineCell, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _is_whole(self) -> Baseline:
        keys = [cell.key for cell in self.cells]
        if len(set(keys)) < len(keys):
            raise ValueError("two cells have the same specification")
        for cell in self.cells:
            if cell.samples not in self.samples:
                raise ValueError(f"the samples of {cell.title} are missing")
            samples = self.samples[cell.samples]
            count = len(samples.ids)
            if len(samples.weights) not in {1, count} or len(cell.values) != count:
                raise ValueError(f"{cell.title} has another number of values than of samples")
        return self

    @property
    def confidence(self) -> float:
        """Of one cell's two-sided interval (Bonferroni)."""
        return 1 - self.false_alarm / len(self.cells)

    def observations(self, cell: BaselineCell) -> Observations:
        """What ``cell`` was taken over."""
        samples = self.samples[cell.samples]
        return Observations(
            cell.metric,
            cell.unit,
            cell.higher_is_better,
            cell.logarithmic,
            samples.ids,
            np.array(cell.values),
            np.array(np.broadcast_to(samples.weights, len(samples.ids))),
        )


def cell_key(spec: RunSpec) -> str:
    """Hash of a specification; equal ones are one cell."""
    return digest(spec.model_dump(mode="json"))[:16]


def observed(record: RunRecord) -> Observations | Unpaired:
    """The observations behind a record's headline, as exact as a baseline keeps them.

    Raises:
        NonFiniteError: a sample's value is NaN or infinite.
    """
    if record.result is None:
        return Unpaired(f"{record.run_id} has no result")
    observations = observe(record.result)
    if isinstance(observations, Unpaired):
        return observations
    return Observations(
        observations.metric,
        observations.unit,
        observations.higher_is_better,
        observations.logarithmic,
        observations.ids,
        observations.values.round(DECIMALS),
        observations.weights,
    )


def sample_set(observations: Observations) -> SampleSet:
    """The samples of ``seen`` without its values."""
    weights = observations.weights if np.ptp(observations.weights) else observations.weights[:1]
    return SampleSet(ids=observations.ids, weights=tuple(weights.tolist()))


def sample_set_name(samples: SampleSet) -> str:
    """Its name in a baseline: a hash of its content."""
    return digest(samples.model_dump(mode="json"))[:12]


def read_baseline(path: Path) -> Baseline:
    """Read a baseline file.

    Raises:
        UsageError: there is none, or it is not sound.
        InfrastructureError: it cannot be read.
    """
    require_regular(path)
    try:
        return Baseline.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise UsageError(
            f"there is no baseline {path}; write one with 'harness gate calibrate'"
        ) from error
    except OSError as error:
        raise InfrastructureError(
            f"cannot read {path} ({error.strerror or error}); check its permissions"
        ) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "file"
        raise UsageError(
            f"{path} is no sound baseline ({where}: {first['msg']}); restore it from version "
            "control, or write it anew with 'harness gate calibrate'"
        ) from error


def baseline_text(baseline: Baseline) -> str:
    """The file's content: one line a sample set and a cell's values, so that changes show."""
    plain = baseline.model_dump(mode="json")
    contents: dict[str, str] = {}

    def placeholder_for(value: object) -> str:
        placeholder = f"@{len(contents)}@"
        contents[f'"{placeholder}"'] = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        return placeholder

    for shared in plain["samples"].values():
        shared["ids"], shared["weights"] = (
            placeholder_for(shared["ids"]),
            placeholder_for(shared["weights"]),
        )
    for cell in plain["cells"]:
        cell["values"], cell["spec"] = (
            placeholder_for(_short(cell["values"])),
            placeholder_for(cell["spec"]),
        )
    text = json.dumps(plain, indent=1, ensure_ascii=False)
    for placeholder, content in contents.items():
        text = text.replace(placeholder, content, 1)
    return text + "\n"


def _short(values: list[float]) -> list[float]:
    """Whole numbers without their point."""
    return [int(value) if value.is_integer() else value for value in values]
