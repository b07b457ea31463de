"""The model itself is measured by asking for ``dense``."""

from __future__ import annotations

from contextlib import suppress

import pytest

from harness.cli.main import main
from harness.records import store


def test_dense_alone_is_measured_and_nothing_is_calibrated(
    cli, model_folder, texts, tmp_path, monkeypatch
):
    def fail(*_):
        raise AssertionError("calibration was looked up")

    monkeypatch.setattr("harness.experiments.resolve.resolve_calibration", fail)
    told = cli(
        "run", "--model", model_folder("llama"), "--window", "32", "--method", "dense",
        "--tasks", f"wikitext2={texts / 'evaluation.txt'}", "--output", tmp_path / "results",
    )  # fmt: skip
    assert told.code == 0, told.err
    (record,) = store.load_all(tmp_path / "results")[0]
    assert (record.spec.method.name, record.spec.ratio, record.calibration) == ("dense", 0, None)


def test_dense_beside_methods_adds_nothing_and_is_the_same_record(cli, command, tmp_path):
    assert cli(*command("--method", "dense", "svd")).code == 0
    records = store.load_all(tmp_path / "results")[0]
    assert sorted(record.spec.method.name for record in records) == ["dense", "svd"]
    told = cli("run", *command("--method", "dense", "svd")[1:])
    assert "2 of 2 cells are already in" in told.err


@pytest.mark.parametrize(
    "option", [("--ratio", "0.3"), ("--samples", "4"), ("--junction", "left"), ("--save", "x")]
)
def test_what_says_how_to_compress_is_no_option_of_dense(cli, option):
    told = cli("run", "--model", "absent/model", "--method", "dense", *option)
    assert told.code == 2
    assert f"--method dense measures the model as it is; leave out {option[0]}" in told.err


def test_help_for_dense_is_shown(capsys):
    with suppress(SystemExit):
        assert main(["run", "--method", "dense", "svd", "--help"]) == 0
    assert "--junction" in capsys.readouterr().out
