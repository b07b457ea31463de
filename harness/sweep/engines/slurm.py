"""Worker processes as jobs of a Slurm cluster, through submitit.

Every cell is a job of its own, at most ``--workers`` of them in the queue or at work at once.
What has no option here is taken from the environment of ``sbatch``: ``SBATCH_QOS``,
``SBATCH_CONSTRAINT`` and so on. Results and this directory must lie on a file system that all
machines share and that supports ``flock`` (NFS does, Lustre when mounted with ``flock``);
sweeps of clusters that share none are brought together by ``harness merge``.

Submitit hands over its function by pickle, in a folder beside the records that only the user can
read and that is gone after the sweep. Nothing but text goes through it.
"""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from harness.errors import InfrastructureError, UsageError
from harness.sweep.engines.cluster_devices import gpus_for, require_kinds
from harness.sweep.engines.engine import Ended, Started
from harness.sweep.engines.scheduler import Outcome, deal, last_line

try:
    import submitit
    from submitit.core.utils import FailedJobError, FailedSubmissionError, UncompletedJobError
except ImportError as error:
    raise UsageError("engine 'slurm' needs submitit; pip install 'harness[slurm]'") from error

LOOKS = 30
"""Slurm itself is asked every that many looks for a job's answer."""

PositiveInteger = Annotated[int, Field(ge=1, le=1_000_000_000)]


@dataclass(frozen=True)
class SlurmConfig:
    """What each job asks Slurm for.

    Attributes:
        partition: queue of the cluster; if none is named, the cluster's own choice.
        account: who pays; if nobody is named, the cluster's own choice.
        time: minutes for one cell, after which Slurm ends it.
        memory: gigabytes for one cell; if none are asked for, the cluster's own choice.
        cpus: cores of each cell, which are also its threads unless ``OMP_NUM_THREADS`` is set.
        gpus: accelerators of each cell; if none are asked for, 1 for cells on a GPU, else 0.
    """

    partition: str | None = None
    account: str | None = None
    time: PositiveInteger = 60
    memory: PositiveInteger | None = None
    cpus: PositiveInteger = 1
    gpus: Annotated[int, Field(ge=0, le=1000)] | None = None


@dataclass(frozen=True)
class SlurmEngine:
    """See ``harness.sweep.engines.engine.Engine``.

    Attributes:
        cluster: submitit's name for where jobs go; its ``local`` stands in for Slurm in tests.
        pause: seconds between two looks at the running jobs.
    """

    cluster: Literal["slurm", "local"] = "slurm"
    pause: float = 2.0
    summary = "jobs of a Slurm cluster"
    config = SlurmConfig

    def run(
        self,
        jobs: Sequence[str],
        workers: int,
        devices: Sequence[str],
        config: SlurmConfig,
        folder: Path,
    ) -> Generator[Started | Ended]:
        """Run all ``jobs``; those of a sweep that is killed finish their cells.

        Raises:
            UsageError: this is no machine of a Slurm cluster, or a device has a number.
            InfrastructureError: Slurm does not accept a job.
        """
        require_kinds("slurm", devices)
        if self.cluster == "slurm" and not (shutil.which("sbatch") and shutil.which("srun")):
            raise UsageError(
                "engine 'slurm' needs Slurm, and there is no sbatch and srun here; start the "
                "sweep on a login node, or pass --engine local"
            )
        pool = _Jobs(self.cluster, folder / "slurm", config, self.pause)
        return deal(pool, jobs, workers, devices)


def _parameters(config: SlurmConfig, gpus: int) -> dict[str, Any]:
    """``config`` in the names of submitit."""
    named = {
        "name": "harness",
        "nodes": 1,
        "tasks_per_node": 1,
        "timeout_min": config.time,
        "mem_gb": config.memory,
        "cpus_per_task": config.cpus,
        "gpus_per_node": gpus or None,
        "slurm_partition": config.partition,
        "slurm_account": config.account,
        "slurm_setup": [f"export OMP_NUM_THREADS=${{OMP_NUM_THREADS:-{config.cpus}}}"],
    }
    return {name: value for name, value in named.items() if value is not None}


def _work(job: str, device: str | None) -> str:
    from harness.sweep.cell import do_job  # noqa: PLC0415

    return do_job(job, device)


@dataclass(frozen=True)
class _Jobs:
    """See ``harness.sweep.engines.scheduler.Pool``."""

    cluster: str
    folder: Path
    config: SlurmConfig
    pause: float

    def start(self, job: str, device: str | None) -> submitit.Job[str]:
        # Without the working folder on the path (-P): a tasks.py there is none of ours.
        python = {f"{self.cluster}_python": f"{shlex.quote(sys.executable)} -P"}
        executor = submitit.AutoExecutor(self.folder, cluster=self.cluster, **python)
        gpus = gpus_for(job, device, self.config.gpus)
        executor.update_parameters(**_parameters(self.config, gpus))
        try:
            return executor.submit(_work, job, device)
        except (FailedJobError, FailedSubmissionError) as error:
            raise InfrastructureError(
                f"Slurm takes no job: {last_line(str(error))}; correct the --engine-option, or "
                "wait until the cluster is up"
            ) from error

    def ended(
        self, running: Sequence[submitit.Job[str]]
    ) -> Iterator[tuple[submitit.Job[str], Outcome]]:
        for look in range(1, 1 + LOOKS):
            time.sleep(self.pause)
            # One question brings news of all jobs.
            over = [
                job
                for number, job in enumerate(running)
                if job.done(force_check=look == LOOKS and number == 0)
            ]
            if over:
                break
        yield from ((job, _outcome(job)) for job in over)

    def kill(self, worker: submitit.Job[str]) -> None:
        worker.cancel(check=False)


def _outcome(job: submitit.Job[str]) -> Outcome:
    try:
        return Outcome(job.result())
    except FailedJobError:
        return Outcome(None, f"its worker failed: {last_line(job.stderr() or '')}")
    except UncompletedJobError:
        return Outcome(None, f"job {job.job_id}: {job.state}", killed=True)


engine = SlurmEngine()
