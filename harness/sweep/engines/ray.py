"""Worker processes on the machines of a Ray cluster.

The cluster is the one of ``RAY_ADDRESS``, or one that runs on this machine; without either, one
of this machine's cores is started for the sweep, which listens to this machine only. Environment
and installed packages are those of the cluster's machines: each needs harness, and models and
data under the same names.

Machines that share the results folder take turns by its locks, so its file system must support
``flock`` (NFS does, Lustre when mounted with ``flock``), and they share statistics too. Where it
is not shared, each machine keeps its records under the same path; they also travel back with the
answers, so that the folder of the sweep ends up whole. Records that a broken connection left
behind are brought in by ``harness merge``.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from harness.errors import InfrastructureError, UsageError
from harness.sweep.engines.cluster_devices import gpus_for, require_kinds
from harness.sweep.engines.engine import Ended, Started
from harness.sweep.engines.scheduler import Outcome, deal
from harness.sweep.engines.threads import threads_of_each

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
# Read when ray is imported: a cluster that it starts is not to be reached from outside.
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
try:
    import ray
    from ray.exceptions import RayError, RayTaskError
except ImportError as error:
    raise UsageError("engine 'ray' needs Ray; pip install 'harness[ray]'") from error

ANSWERS = 80_000_000
"""Bytes for objects on their way, near the least that Ray accepts: ours are short texts."""

GRACE = 30.0
"""Seconds for a worker to end, or a cluster to answer."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RayConfig:
    """What each worker asks the cluster for.

    Attributes:
        cpus: cores of each worker, which are also its threads; if none are asked for, an equal
            share of this machine in a cluster of our own, else 1.
        gpus: accelerators of each worker; if none are asked for, 1 for cells on a GPU, else 0.
    """

    cpus: Annotated[int, Field(ge=1, le=100_000)] | None = None
    gpus: Annotated[int, Field(ge=0, le=1000)] | None = None


class RayEngine:
    """See ``harness.sweep.engines.engine.Engine``."""

    summary = "processes on the machines of a Ray cluster"
    config = RayConfig

    def run(
        self,
        jobs: Sequence[str],
        workers: int,
        devices: Sequence[str],
        config: RayConfig,
        folder: Path,  # noqa: ARG002
    ) -> Generator[Started | Ended]:
        """Run all ``jobs``; Ray ends the workers of a process that has died.

        Raises:
            UsageError: a device has a number.
            InfrastructureError: the cluster of ``RAY_ADDRESS`` does not answer.
        """
        require_kinds("ray", devices)
        with _cluster(workers * (config.cpus or threads_of_each(workers))) as ours:
            cpus = config.cpus or (threads_of_each(workers) if ours else 1)
            yield from deal(_Tasks(cpus, config.gpus), jobs, workers, devices)


@contextmanager
def _cluster(cpus: int) -> Iterator[bool]:
    """Be connected; tells whether it is to a cluster started here, one with ``cpus``."""
    if ray.is_initialized():
        yield False
        return
    # Under a name of its own, or another sweep would find it and end with it.
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as temporary:
        ours = not _joined()
        if ours:
            ray.init(
                address="local",
                num_cpus=cpus,
                include_dashboard=False,
                log_to_driver=False,
                object_store_memory=ANSWERS,
                _temp_dir=temporary,
            )
        try:
            yield ours
        finally:
            ray.shutdown()


def _joined() -> bool:
    """Whether there is a cluster to connect to."""
    address = os.environ.get("RAY_ADDRESS")
    try:
        _knock(address or "")
        ray.init(address=address or "auto", log_to_driver=False)
    except (OSError, RuntimeError, ValueError) as error:
        if address is None and isinstance(error, ConnectionError):
            return False
        raise InfrastructureError(
            f"cannot work on the Ray cluster at {address or 'this machine'} ({error}); start it, "
            "correct or unset RAY_ADDRESS, or install the same Ray and Python"
        ) from error
    return True


def _knock(address: str) -> None:
    """Fail at once where nobody listens at ``HOST:PORT``; Ray itself tries for minutes."""
    host, _, port = address.rpartition(":")
    if port.isdigit() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=GRACE).close()


def _work(job: str, device: str | None, folder: str) -> str:
    """Do ``job`` as a process in ``folder`` would, where relative paths are meant."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    # Ray puts it first on the path, where a tasks.py would hide ours; it stays where PYTHONPATH
    # or an editable installation has it.
    with suppress(ValueError):
        sys.path.remove(folder)
    from harness.sweep.cell import do_job  # noqa: PLC0415

    return do_job(job, device)


class _Tasks:
    """See ``harness.sweep.engines.scheduler.Pool``."""

    def __init__(self, cpus: int, gpus: int | None) -> None:
        self._cpus = cpus
        self._gpus = gpus
        # A process for each call; attempts are counted by whoever deals.
        self._task = ray.remote(
            max_calls=1, max_retries=0, num_cpus=cpus, scheduling_strategy="SPREAD"
        )(_work)

    def start(self, job: str, device: str | None) -> Any:
        gpus = gpus_for(job, device, self._gpus)
        _warn_unless_found({"CPU": self._cpus, "GPU": gpus})
        return self._task.options(num_gpus=gpus).remote(job, device, str(Path.cwd()))

    def ended(self, running: Sequence[Any]) -> Iterator[tuple[Any, Outcome]]:
        for task in ray.wait(list(running))[0]:
            yield task, _outcome(task)

    def kill(self, worker: Any) -> None:
        ray.cancel(worker, force=True)
        with suppress(RayError):
            ray.get(worker, timeout=GRACE)


def _outcome(task: Any) -> Outcome:
    try:
        return Outcome(ray.get(task))
    except RayTaskError as error:
        cause = f"{type(error.cause).__name__}: {' '.join(str(error.cause).split())}"
        return Outcome(None, f"its worker failed: {cause}")
    except RayError as error:
        return Outcome(None, type(error).__name__, killed=True)


def _warn_unless_found(wanted: dict[str, int]) -> None:
    """A cluster may grow, but who waits for what it never had should know."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(
        all(machine.get(what, 0) >= n for what, n in wanted.items()) for machine in machines
    ):
        names = " and ".join(f"{n} {what}" for what, n in wanted.items() if n)
        _log.warning("no machine of the Ray cluster has %s; a cell waits until one joins", names)


engine = RayEngine()
