"""Worker processes on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import IO

from harness.sweep.engines.engine import Ended, Started
from harness.sweep.engines.scheduler import Outcome, deal, last_line
from harness.sweep.engines.threads import threads_of_each


@dataclass(frozen=True)
class LocalEngineConfig:
    """No options: ``--workers`` and ``--devices`` say it all."""


class LocalEngine:
    """See ``harness.sweep.engines.engine.Engine``."""

    summary = "processes on this machine"
    config = LocalEngineConfig

    def run(
        self,
        jobs: Sequence[str],
        workers: int,
        devices: Sequence[str],
        config: LocalEngineConfig,  # noqa: ARG002
        folder: Path,  # noqa: ARG002
    ) -> Generator[Started | Ended]:
        """Run all ``jobs``; a worker's standard input ends with this process, and it with that."""
        # The user may have said how many threads each may have.
        environment = {"OMP_NUM_THREADS": str(threads_of_each(workers))} | dict(os.environ)
        return deal(_Processes(environment), jobs, workers, devices)


@dataclass(frozen=True, eq=False)
class _Worker:
    process: subprocess.Popen[bytes]
    job: IO[bytes]
    answer: IO[bytes]
    errors: IO[bytes]

    def kill(self) -> None:
        """End the worker and all it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def close(self) -> Outcome:
        """Wait until it has ended, and let go of its files."""
        answer = self.answer.read().decode(errors="replace").strip()
        code = self.process.wait()
        self.kill()
        self.answer.close()
        with suppress(BrokenPipeError):
            self.job.close()
        with self.errors:
            # What a worker said that did not come to its end may be cut short.
            if answer and code == 0:
                return Outcome(answer)
            if code < 0:
                return Outcome(None, signal.Signals(-code).name, killed=True)
            self.errors.seek(0)
            said = self.errors.read().decode(errors="replace")
            return Outcome(None, f"its worker ended with code {code}: {last_line(said)}")


@dataclass(frozen=True)
class _Processes:
    """See ``harness.sweep.engines.scheduler.Pool``."""

    environment: dict[str, str]

    def start(self, job: str, device: str | None) -> _Worker:
        errors = tempfile.TemporaryFile()  # noqa: SIM115
        process = subprocess.Popen(
            # Without the working folder on the path (-P): a tasks.py there is none of ours.
            [sys.executable, "-P", "-m", "harness.sweep.worker", *([device] if device else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=self.environment,
            # Control-C is for this process, which then ends its workers.
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.write(job.encode() + b"\n")
            process.stdin.flush()
        return _Worker(process, process.stdin, process.stdout, errors)

    def ended(self, running: Sequence[_Worker]) -> Iterator[tuple[_Worker, Outcome]]:
        answers = {worker.answer.fileno(): worker for worker in running}
        for ready in wait(list(answers)):
            assert isinstance(ready, int)
            yield answers[ready], answers[ready].close()

    def kill(self, worker: _Worker) -> None:
        worker.kill()
        worker.close()


engine = LocalEngine()
