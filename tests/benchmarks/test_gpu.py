"""The GPU kit, on tiny shapes and without a GPU."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STEPS = ["identity", "eager", "compiled", "cache", "compression"]


def kit(folder, *arguments):
    return subprocess.run(
        [sys.executable, "benchmarks/gpu.py", "--output", folder, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )


def report(folder):
    return json.loads((folder / "gpu.json").read_text("utf-8"))


@pytest.mark.slow
def test_every_measurement_is_there_or_named_as_left_out(tmp_path):
    done = kit(tmp_path, "--device", "cpu", "--tiny", "--minutes", "1")
    assert done.returncode == 0, done.stderr
    found = report(tmp_path)
    steps = found["steps"]
    assert list(steps) == STEPS
    assert found["dtype"] == "bfloat16"
    numbers = [
        value
        for step in steps.values()
        for row in step["rows"]
        for value in row.values()
        if isinstance(value, float)
    ]
    assert numbers
    assert all(map(math.isfinite, numbers))
    # Three models, of which speed has the dense one and 20, 40, 60, 80 % by three forms.
    planned = {
        "identity": 3 * 3,
        "eager": 3 * (1 + 4 * 3) * 3,
        "compiled": 3 * (1 + 4) * 3 * 2,
        "cache": 3 * (1 + 4 * 2),
        "compression": 4 * 2,
    }
    missing = [entry["step"] for entry in found["left_out"]]
    for name, count in planned.items():
        assert len(steps[name]["rows"]) + missing.count(name) == count, name
    assert all(entry["what"] and entry["reason"].startswith("time") for entry in found["left_out"])
    for row in steps["identity"]["rows"]:
        assert row["factors / dense"] < 3
        assert row["in float32"] < 1e-4
    for row in steps["cache"]["rows"]:
        if row["cache"] == "expanded":
            assert row["allocated / dense"] == 1
        if row["cache"] == "latent" and row["removed"] >= 0.4:
            assert row["allocated / dense"] < 1
    text = (tmp_path / "gpu.md").read_text("utf-8")
    assert all(f"## {name}" in text for name in (*STEPS, "Left out"))
    assert "| 2 of 3 |" in text


def test_what_has_no_time_is_named(tmp_path):
    done = kit(tmp_path, "--device", "cpu", "--tiny", "--minutes", "0.000001")
    assert done.returncode == 0, done.stderr
    found = report(tmp_path)
    assert not any(step["rows"] for step in found["steps"].values())
    assert {entry["step"] for entry in found["left_out"]} == set(STEPS)
    assert "opt, tiny, dense" in {entry["what"] for entry in found["left_out"]}


@pytest.mark.parametrize(
    ("arguments", "fix"),
    [
        (("--device", "cpu"), "pass --tiny too"),
        (("--tiny", "--device", "cpu", "--minutes", "0"), "above 0"),
    ],
)
def test_what_makes_no_sense_is_one_line(tmp_path, arguments, fix):
    done = kit(tmp_path / "out", *arguments)
    assert done.returncode == 2
    assert fix in done.stderr
    assert not (tmp_path / "out").exists()
