"""The GPU kit, on tiny shapes and without a GPU."""

import json
import math
import os
import subprocess
import sys
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import pytest
import torch

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
    parts = [row for name in ("identity", "compiled") for row in steps[name]["rows"]]
    assert all(row["blocks"] == "2 of 3" for row in parts)


def test_what_has_no_time_is_named(tmp_path):
    done = kit(tmp_path, "--device", "cpu", "--tiny", "--minutes", "0.000001")
    assert done.returncode == 0, done.stderr
    found = report(tmp_path)
    assert not any(step["rows"] for step in found["steps"].values())
    assert {entry["step"] for entry in found["left_out"]} == set(STEPS)
    assert "opt, tiny, dense" in {entry["what"] for entry in found["left_out"]}


@pytest.fixture
def step(tmp_path, monkeypatch):
    """A step of a minute, and the report it writes to."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    budget, rows = import_module("gpu_kit.budget"), import_module("gpu_kit.report")
    written = rows.Report(tmp_path, {}, {"a": "what it is"})
    yield budget.Step("a", time.monotonic() + 60, written), written
    for name in [name for name in sys.modules if name.partition(".")[0] == "gpu_kit"]:
        del sys.modules[name]


def fails(error):
    def measure(_):
        raise error

    return measure


def test_what_fails_is_named_and_the_rest_goes_on(step):
    running, written = step
    unit = sys.modules["gpu_kit.budget"].Unit
    cells = [
        ("big", fails(torch.OutOfMemoryError("too big"))),
        ("wrong", fails(ValueError("no such thing"))),
        ("good", lambda shared: {"value": shared}),
    ]
    running.run([unit("k", lambda: 3, cells), unit("l", lambda: 1 / 0, [("built", fails)])])
    assert written.rows == {"a": [{"value": 3}]}
    reasons = {entry["what"]: entry["reason"] for entry in written.left_out}
    assert reasons.keys() == {"big", "wrong", "built"}
    assert reasons["big"].startswith("memory")
    assert reasons["wrong"] == "error: ValueError: no such thing"
    assert [entry["what"] for entry in written.errors] == ["wrong", "built"]


def test_what_takes_too_long_is_cut_off_whatever_it_catches(step):
    running, written = step

    def endless(_):
        while True:
            with suppress(Exception):
                time.sleep(0.01)

    running.end = time.monotonic() + 0.2
    unit = sys.modules["gpu_kit.budget"].Unit
    running.run([unit("k", lambda: None, [("endless", endless), ("after", fails)])])
    assert [entry["what"] for entry in written.left_out] == ["endless", "after"]
    assert all("cut off" in entry["reason"] for entry in written.left_out)


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
