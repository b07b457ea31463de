"""The engine seam: something that runs workers and says what becomes of them."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from harness.plugins.registry import Registry


@dataclass(frozen=True)
class Started:
    """The job at ``position`` was given to a worker, for the ``attempt``-th time."""

    position: int
    attempt: int


@dataclass(frozen=True)
class Ended:
    """The job at ``position`` is over: the worker's answer, or why there is none."""

    position: int
    answer: str | None
    reason: str = ""


C = TypeVar("C")


@runtime_checkable
class Engine(Protocol[C]):
    """A plugin of the ``harness.engines`` group, with options of type ``C``."""

    @property
    def summary(self) -> str:
        """The engine in one line."""

    @property
    def config(self) -> type[C]:
        """Frozen dataclass of its options with a default for each."""

    def run(
        self,
        jobs: Sequence[str],
        workers: int,
        devices: Sequence[str],
        config: C,
        folder: Path,
    ) -> Generator[Started | Ended]:
        """Run ``harness.sweep.cell.do_job`` on each of ``jobs``, each in a process of its own.

        Every job ends exactly once; one whose worker is killed is started again. When the
        generator is closed early, the workers still running end too.
        ``harness.sweep.engines.scheduler.deal`` does all of this for whoever can start a worker.

        Args:
            jobs: one line of JSON each.
            workers: how many run at once.
            devices: dealt out among the workers; empty leaves each job its own device.
            config: the options, an instance of ``self.config``.
            folder: for files of the engine, beside the records; gone after the sweep.
        """


engines: Registry[Engine[Any]] = Registry(
    "harness.engines",
    "engine",
    Engine,  # type: ignore[type-abstract]
)
