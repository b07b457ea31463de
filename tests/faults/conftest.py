from __future__ import annotations

import pytest

from harness.sweep.cell import do_job
from harness.sweep.engines.engine import Ended, Started
from harness.sweep.engines.local import LocalEngine


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch, tmp_path):
    """Faults reach what workers do, and the cache is below the folder where they happen."""

    def run(self, jobs, workers, devices, config, folder):
        for position, job in enumerate(jobs):
            yield Started(position, 1)
            yield Ended(position, do_job(job, None))

    monkeypatch.setattr(LocalEngine, "run", run)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "work"))
