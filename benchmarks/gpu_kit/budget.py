"""Work within a time: what does not fit is named, what is too slow is cut off."""

from __future__ import annotations

import gc
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from gpu_kit.report import Report, Row
from harness.support.out_of_memory import out_of_memory


class OutOfTime(BaseException):
    """Raised in the middle of what runs."""


@dataclass(frozen=True)
class Unit:
    """Several measurements that share what is costly to make.

    Attributes:
        kind: units of one kind take about as long as one another.
        prepare: makes what they share.
        cells: what each is called, and how it is taken from that.
    """

    kind: str
    prepare: Callable[[], Any]
    cells: Sequence[tuple[str, Callable[[Any], Row]]]


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise ``OutOfTime`` within the block once it has taken ``seconds``."""

    def stop(*_: object) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, stop)
    # Again and again: raised within a callback of C, it would be lost.
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3), 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Step:
    """One step of the kit, which ends at a time on the monotonic clock."""

    def __init__(self, name: str, end: float, report: Report) -> None:
        self.name = name
        self.end = end
        self.report = report
        self.taken: dict[str, float] = {}

    def run(self, units: Sequence[Unit]) -> None:
        start = time.monotonic()
        for unit in units:
            needed, left = self.taken.get(unit.kind, 0.0), self.end - time.monotonic()
            if left <= needed:
                reason = f"time: {max(left, 0):.0f} s left"
                reason += f", another took {needed:.0f} s" * (needed > 0)
                self._left_out(unit.cells, reason)
                continue
            begun = time.monotonic()
            self._run(unit)
            self.taken[unit.kind] = time.monotonic() - begun
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        self.report.step_took(self.name, time.monotonic() - start)

    def _run(self, unit: Unit) -> None:
        waiting = list(unit.cells)
        try:
            with limited(self.end - time.monotonic()):
                shared = unit.prepare()
                while waiting:
                    name, measure = waiting[0]
                    try:
                        self.report.add(self.name, measure(shared))
                    except Exception as error:  # noqa: BLE001 (as below)
                        self.report.leave_out(self.name, name, reason_of(error))
                    del waiting[0]
        except OutOfTime:
            self._left_out(waiting, "time: cut off at the end of the step's share")
        except Exception as error:  # noqa: BLE001 (named in the report, which fails the run)
            self._left_out(waiting, reason_of(error))

    def _left_out(self, cells: Sequence[tuple[str, object]], reason: str) -> None:
        for name, _ in cells:
            self.report.leave_out(self.name, name, reason)


def reason_of(error: Exception) -> str:
    if out_of_memory(error):
        return "memory: does not fit the device"
    return f"error: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
