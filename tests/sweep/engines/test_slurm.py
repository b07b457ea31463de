"""What Slurm is asked for, on a stand-in for its commands; the executor is submitit's own."""

from __future__ import annotations

import os

import pytest

from harness.cli.main import main
from harness.errors import InfrastructureError, UsageError
from harness.sweep.engines.engine import Ended, Started
from tests.sweep.engines import fake_slurm

pytest.importorskip("submitit", reason="needs harness[slurm]")
from harness.sweep.engines import slurm
from harness.sweep.engines.slurm import SlurmConfig, SlurmEngine

pytestmark = pytest.mark.extras

UNWORKABLE = '{"request": {"device": "%s"}}'


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    from submitit.core.core import Job

    monkeypatch.setattr(Job, "_results_timeout_s", 0)
    (tmp_path / "slurm").mkdir()
    jobs = fake_slurm.install(tmp_path / "slurm")
    path = f"{jobs.parent / 'bin'}{os.pathsep}{os.environ['PATH']}"
    monkeypatch.setenv("PATH", path)
    monkeypatch.setenv("FAKE_SLURM", str(jobs))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return jobs


def run(jobs, folder, config=None, **engine):
    config = config or SlurmConfig()
    return SlurmEngine(pause=0.1, **engine).run(jobs, 1, [], config, folder)


def test_a_job_asks_for_what_the_options_say(cluster, tmp_path):
    config = SlurmConfig(partition="gpu", account="lab", time=90, memory=64, cpus=8)
    events = list(run([UNWORKABLE % "cuda", UNWORKABLE % "cpu"], tmp_path, config))
    ends = [event for event in events if isinstance(event, Ended)]
    assert [end.position for end in ends] == [0, 1]
    for end in ends:
        assert end.reason.startswith("its worker failed: ")
    gpu, cpu = (path.read_text() for path in sorted(cluster.glob("*.script")))
    for line in ("partition=gpu", "account=lab", "time=90", "mem=64GB", "cpus-per-task=8",
                 "nodes=1", "ntasks-per-node=1", "job-name=harness"):  # fmt: skip
        assert f"#SBATCH --{line}\n" in gpu
    assert "#SBATCH --gpus-per-node=1\n" in gpu
    assert "gpus-per-node" not in cpu
    assert "export OMP_NUM_THREADS=${OMP_NUM_THREADS:-8}" in gpu


def test_a_job_that_slurm_lost_is_submitted_again(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(slurm, "LOOKS", 2)
    events = []
    for event in run([UNWORKABLE % "cpu"], tmp_path):
        events.append(event)
        if isinstance(event, Started):
            fake_slurm.scancel(str(event.attempt))
    assert events[:3] == [Started(0, 1), Started(0, 2), Started(0, 3)]
    assert events[3].answer is None
    assert "killed 3 times (job 3: NODE_FAIL)" in events[3].reason


def test_what_slurm_refuses_is_said(cluster, tmp_path):
    sbatch = cluster.parent / "bin" / "sbatch"
    sbatch.write_text(
        "#!/bin/sh\necho 'sbatch: error: invalid partition specified: x' >&2; exit 1\n"
    )
    with pytest.raises(InfrastructureError, match=r"invalid partition.*--engine-option"):
        next(run([UNWORKABLE % "cpu"], tmp_path))


def test_a_whole_sweep_goes_through_slurm(recipe, cluster, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    output = tmp_path / "results"
    sweep = ["sweep", str(recipe), "--output", str(output), "--workers", "2"]
    assert main([*sweep, "--engine", "slurm", "--engine-option", "time=5"]) == 0
    assert "2 cells complete" in capsys.readouterr().err
    assert len(list(output.glob("*.json"))) == 2
    assert not list(output.glob(".sweep-*"))
    assert "#SBATCH --time=5\n" in (cluster / "1.script").read_text()


def test_without_slurm_the_engine_says_what_to_do(recipe, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    output = tmp_path / "results"
    sweep = ["sweep", str(recipe), "--output", str(output), "--engine", "slurm"]
    assert main(sweep) == 2
    error = capsys.readouterr().err
    assert "no sbatch" in error
    assert "--engine local" in error


def test_single_gpus_are_refused(tmp_path):
    with pytest.raises(UsageError, match="pass cuda, not cuda:0"):
        SlurmEngine(cluster="local").run(["{}"], 1, ["cuda:0"], SlurmConfig(), tmp_path)
