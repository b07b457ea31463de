"""How long a command takes that computes nothing, as a multiple of starting Python.

    python benchmarks/startup.py

Each command is started several times in turn with `python -c pass`, so that a busy machine slows
both; medians are compared.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPEATS = 9
COMMANDS = (
    "--help",
    "run --help",
    "list methods",
    "list models",
    "show absent",
    "leaderboard --results .",
    "diff --help",
    "gate check --help",
    "sweep --help",
)


def seconds(arguments: list[str], folder: Path) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, check=False)
    return time.perf_counter() - start


def main() -> None:
    calls = {"python -c pass": ["-c", "pass"]}
    calls |= {
        f"harness {command}": ["-m", "harness.cli.main", *command.split()] for command in COMMANDS
    }
    taken: dict[str, list[float]] = {name: [] for name in calls}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(REPEATS):
            for name, arguments in calls.items():
                taken[name].append(seconds(arguments, Path(folder)))
    bare = statistics.median(taken["python -c pass"])
    print(f"{'command':<34}{'median s':>9}{'ratio':>8}")
    for name, times in taken.items():
        median = statistics.median(times)
        print(f"{name:<34}{median:>9.3f}{median / bare:>8.1f}")


if __name__ == "__main__":
    main()
