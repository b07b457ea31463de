"""Jobs dealt out among workers, whatever the workers are."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from harness.sweep.engines.engine import Ended, Started

W = TypeVar("W")
ATTEMPTS = 3
"""A worker that was killed, such as by the kernel for want of memory, is tried again twice."""


@dataclass(frozen=True)
class Outcome:
    """What a worker left: its answer, or why there is none.

    ``killed`` tells what ended it from outside from what would happen again.
    """

    answer: str | None
    reason: str = ""
    killed: bool = False


class Pool(Protocol[W]):
    """Where workers run; a worker is anything that can be a key of a dictionary."""

    def start(self, job: str, device: str | None) -> W:
        """Set a worker to ``job`` on ``device`` (None: the job's own)."""

    def ended(self, running: Sequence[W]) -> Iterator[tuple[W, Outcome]]:
        """Wait until some have ended and say how."""

    def kill(self, worker: W) -> None:
        """End a worker that is still running."""


@dataclass(frozen=True)
class _Assignment:
    position: int
    attempt: int
    slot: int


def deal(
    pool: Pool[W], jobs: Sequence[str], workers: int, devices: Sequence[str]
) -> Generator[Started | Ended]:
    """Run all ``jobs``, at most ``workers`` at once; see ``engine.Engine``."""
    waiting = deque((position, 1) for position in range(len(jobs)))
    free = deque(range(workers))
    running: dict[W, _Assignment] = {}
    try:
        while waiting or running:
            while waiting and free:
                assignment = _Assignment(*waiting.popleft(), free.popleft())
                device = devices[assignment.slot % len(devices)] if devices else None
                running[pool.start(jobs[assignment.position], device)] = assignment
                yield Started(assignment.position, assignment.attempt)
            for worker, outcome in pool.ended(tuple(running)):
                assignment = running.pop(worker)
                free.append(assignment.slot)
                if outcome.killed and assignment.attempt < ATTEMPTS:
                    waiting.append((assignment.position, assignment.attempt + 1))
                else:
                    yield Ended(assignment.position, outcome.answer, _reason(outcome))
    finally:
        for worker in running:
            pool.kill(worker)


def _reason(outcome: Outcome) -> str:
    if not outcome.killed:
        return outcome.reason
    return (
        f"its worker was killed {ATTEMPTS} times ({outcome.reason}), perhaps for want of memory; "
        "pass fewer --workers or a smaller batch_size"
    )


def last_line(said: str) -> str:
    """The last thing of a worker's standard error, most often the exception."""
    lines = [line.strip() for line in said.split("\n") if line.strip()]
    return lines[-1] if lines else "it said nothing"
