"""A small model that was compressed, measured and saved, as ``harness run --save`` does."""

from __future__ import annotations

from harness.cli.main import main


def measured_model(folder, model, texts, *tasks):
    """``folder / "small"``: 40 % of ``model`` removed by svd, measured on ``tasks``."""
    arguments = [
        *("run", "--model", model, "--calibration", texts / "calibration.txt"),
        *("--samples", "4", "--length", "16", "--method", "svd", "--ratio", "0.4"),
        *("--tasks", *tasks, "--window", "32"),
        *("--output", folder / "results", "--save", folder / "small"),
    ]
    assert main([str(argument) for argument in arguments]) == 0
    return folder / "small"
