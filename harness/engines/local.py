"""Worker processes on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import IO

from harness.engines.engine import Ended, Started

ATTEMPTS = 3
"""A worker that a signal ended, such as the kernel's for want of memory, is tried again twice."""


@dataclass(frozen=True)
class _Worker:
    position: int
    attempt: int
    slot: int
    process: subprocess.Popen[bytes]
    errors: IO[bytes]

    def kill(self) -> None:
        """End the worker and all it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def close(self) -> str:
        """Wait until it has ended, let go of its files, and return what it answered."""
        assert self.process.stdout is not None
        assert self.process.stdin is not None
        said = self.process.stdout.read().decode(errors="replace").strip()
        # What a worker said that did not come to its end may be cut short.
        answer = said if self.process.wait() == 0 else ""
        self.kill()
        self.process.stdout.close()
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        return answer


class LocalEngine:
    """See ``harness.engines.engine.Engine``."""

    summary = "processes on this machine"

    def run(
        self, jobs: Sequence[str], workers: int, devices: Sequence[str]
    ) -> Generator[Started | Ended]:
        """Run all ``jobs``; a worker's standard input ends with this process, and it with that."""
        waiting = deque((position, 1) for position in range(len(jobs)))
        free = deque(range(workers))
        running: dict[int, _Worker] = {}
        environment = _environment(workers)
        try:
            while waiting or running:
                while waiting and free:
                    position, attempt = waiting.popleft()
                    slot = free.popleft()
                    device = devices[slot % len(devices)] if devices else None
                    process, errors = _start(jobs[position], device, environment)
                    worker = _Worker(position, attempt, slot, process, errors)
                    running[_descriptor(worker)] = worker
                    yield Started(position, attempt)
                for ready in wait(list(running)):
                    assert isinstance(ready, int)
                    worker = running.pop(ready)
                    answer = worker.close()
                    free.append(worker.slot)
                    with worker.errors:
                        killed = not answer and worker.process.returncode < 0
                        if killed and worker.attempt < ATTEMPTS:
                            waiting.append((worker.position, worker.attempt + 1))
                        else:
                            reason = "" if answer else _reason(worker)
                            yield Ended(worker.position, answer or None, reason)
        finally:
            for worker in running.values():
                worker.kill()
                worker.close()
                worker.errors.close()


def _start(
    job: str, device: str | None, environment: dict[str, str]
) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    errors = tempfile.TemporaryFile()  # noqa: SIM115
    process = subprocess.Popen(
        [sys.executable, "-m", "harness.sweep.worker", *([device] if device else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=environment,
        # Control-C is for this process, which then ends its workers.
        start_new_session=True,
    )
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.write(job.encode() + b"\n")
        process.stdin.flush()
    return process, errors


def _descriptor(worker: _Worker) -> int:
    assert worker.process.stdout is not None
    return worker.process.stdout.fileno()


def _environment(workers: int) -> dict[str, str]:
    """Workers share the cores, unless the user has said how many threads each may have."""
    threads = max(1, len(os.sched_getaffinity(0)) // workers)
    return {"OMP_NUM_THREADS": str(threads)} | dict(os.environ)


def _reason(worker: _Worker) -> str:
    code = worker.process.returncode
    if code < 0:
        name = signal.Signals(-code).name
        return (
            f"its worker was killed by {name} {worker.attempt} times, perhaps for want of "
            "memory; pass fewer --workers or a smaller batch_size"
        )
    worker.errors.seek(0)
    said = worker.errors.read().decode(errors="replace").split("\n")
    last = next((line for line in reversed(said) if line.strip()), "it said nothing")
    return f"its worker ended with code {code}: {last.strip()}"


engine = LocalEngine()
