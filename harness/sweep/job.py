"""A cell as text, so that it can go to another process."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import TypeAdapter

from harness.plan import Request


@dataclass(frozen=True)
class Job:
    """One cell to be done.

    ``replaces`` is the digest of the record that is to be replaced, empty where there is none:
    whatever else is found in its place was written by somebody else meanwhile and is kept.
    """

    request: Request
    replaces: str = ""


@dataclass(frozen=True)
class Answer:
    """What became of a cell; ``run_id`` is empty where it came to no record."""

    run_id: str
    status: str
    error: str | None


JOB = TypeAdapter(Job)
ANSWER = TypeAdapter(Answer)
