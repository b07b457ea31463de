"""A cell as text, so that it can go to another process."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from harness.experiments.request import Request
from harness.records.record import RunRecord, Status


@dataclass(frozen=True)
class Job:
    """One cell to be done.

    Attributes:
        request: of this cell only.
        replaces: digest of the record that is to be replaced, empty where there is none:
            whatever else is found in its place was written by somebody else meanwhile and is
            kept.
        wait: for whoever is at this cell already, rather than answer ``busy``.
        shared: folder of statistics that other cells need too; none on machines without it.
    """

    request: Request
    replaces: str = ""
    wait: bool = True
    shared: Path | None = None


@dataclass(frozen=True)
class Answer:
    """What became of a cell.

    Attributes:
        status: of its record, or why there is none.
        error: why it failed.
        record: travels along, since the worker's machine need not share the folder of records.
        notices: what a person should know beside.
    """

    status: Status | Literal["busy"]
    error: str | None = None
    record: RunRecord | None = None
    notices: tuple[str, ...] = ()

    def with_notices(self, notices: tuple[str, ...]) -> Answer:
        """The same with ``notices``."""
        return replace(self, notices=notices)


def answer_of(record: RunRecord) -> Answer:
    """The answer that ``record`` is."""
    return Answer(record.status, record.error, record)


def headline(record: RunRecord) -> str:
    """The first number of a record with its name."""
    if record.result is None:
        return ""
    metric = record.result.metrics[0]
    return f"{metric.name} {metric.value:.4g}"


JOB = TypeAdapter(Job)
ANSWER = TypeAdapter(Answer)
