"""``harness sweep`` in real processes that need not import torch: they are forked, not started.

Only the start differs: the workers are LocalEngine's own, run ``harness.sweep.worker``, talk
through pipes and die of the same signals.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace


def sweep(recipe: Path, output: Path, *options: str) -> None:
    """A sweep in a session of its own; what it says goes to ``<output>.log``."""
    arguments = ["sweep", str(recipe), "--output", str(output), *options]
    os.setsid()
    file = os.open(f"{output}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    from harness.cli.main import main
    from harness.sweep.engines import local

    local.subprocess = SimpleNamespace(Popen=ForkedWorker, PIPE=None)
    code = main(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class ForkedWorker:
    """What LocalEngine needs of ``subprocess.Popen``."""

    def __init__(self, command, *, stdin, stdout, stderr, env, start_new_session):
        assert start_new_session
        assert command[1:4] == ["-P", "-m", "harness.sweep.worker"]
        read_job, write_job = os.pipe()
        read_answer, write_answer = os.pipe()
        self.returncode = None
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            for source, target in ((read_job, 0), (write_answer, 1), (stderr.fileno(), 2)):
                os.dup2(source, target)
            # As with close_fds: an open copy of a pipe's other end would hide its end.
            os.closerange(3, 256)
            _work(command[4:])
        os.close(read_job)
        os.close(write_answer)
        self.stdin = os.fdopen(write_job, "wb")
        self.stdout = os.fdopen(read_answer, "rb")

    def wait(self):
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode


def _work(arguments: list[str]) -> None:
    try:
        from harness.sweep import worker

        sys.argv = ["worker", *arguments]
        sys.stdin = os.fdopen(0, closefd=False)
        worker.main()
    finally:
        os._exit(1)
