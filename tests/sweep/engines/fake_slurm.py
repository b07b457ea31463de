"""``sbatch``, ``srun``, ``sacct`` and ``scancel`` of a cluster of one machine without a queue.

A job is a process group; ``FAKE_SLURM`` is the folder with its script, process id and exit code.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

NAMES = ("sbatch", "srun", "sacct", "scancel")


def install(folder: Path) -> Path:
    """The commands in ``folder/bin``; returns the folder of the jobs."""
    for name in ("bin", "jobs"):
        (folder / name).mkdir()
    for name in NAMES:
        command = folder / "bin" / name
        command.write_text(f'#!/bin/sh\nexec {sys.executable} {__file__} {name} "$@"\n')
        command.chmod(0o755)
    return folder / "jobs"


def sbatch(script: str) -> None:
    number = str(1 + len(list(_jobs().glob("*.script"))))
    (_jobs() / f"{number}.script").write_text(Path(script).read_text())
    process = subprocess.Popen(
        [sys.executable, __file__, "job", number],
        env=os.environ | {"SLURM_JOB_ID": number},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    (_jobs() / f"{number}.pid").write_text(str(process.pid))
    sys.stdout.write(f"Submitted batch job {number}\n")


def job(number: str) -> None:
    code = subprocess.call(["bash", str(_jobs() / f"{number}.script")])
    (_jobs() / f"{number}.code").write_text(str(code))


def srun(*arguments: str) -> None:
    words = list(arguments)
    while words[0].startswith("--"):
        option = words.pop(0)
        if option in ("--output", "--error"):
            path = words.pop(0).replace("%j", os.environ["SLURM_JOB_ID"]).replace("%t", "0")
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(file, 1 if option == "--output" else 2)
    ranks = dict.fromkeys(("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"), "0")
    os.execvpe(words[0], words, os.environ | ranks | {"SLURM_NTASKS": "1"})  # noqa: S606


def sacct(*_: str) -> None:
    sys.stdout.write("JobID|State|NodeList\n")
    for path in _jobs().glob("*.pid"):
        code = path.with_suffix(".code")
        state = "RUNNING" if _alive(int(path.read_text())) else "NODE_FAIL"
        if code.exists():
            state = "COMPLETED" if code.read_text() == "0" else "FAILED"
        sys.stdout.write(f"{path.stem}|{state}|here\n")


def scancel(number: str) -> None:
    os.killpg(int((_jobs() / f"{number}.pid").read_text()), signal.SIGKILL)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _jobs() -> Path:
    return Path(os.environ["FAKE_SLURM"])


if __name__ == "__main__":
    {one.__name__: one for one in (sbatch, job, srun, sacct, scancel)}[sys.argv[1]](*sys.argv[2:])
