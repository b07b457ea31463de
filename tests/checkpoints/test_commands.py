"""``harness compress``, ``run --save``, ``run --model DIR``, ``export``: what a person types."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

import harness
from harness.checkpoints.model_card import model_card
from harness.checkpoints.saved_record import read_saved_record
from harness.errors import NonFiniteError
from harness.experiments import runner
from harness.records import store
from tests.helpers.outcomes import one_line
from tests.helpers.saved_models import inputs_of, logits

USAGE = 2


@pytest.fixture
def options(model_folder, texts, tmp_path):
    """Of ``run`` and ``compress`` alike."""
    return [
        *("--model", model_folder("llama"), "--calibration", texts / "calibration.txt"),
        *("--samples", "4", "--length", "16", "--junction", "block-identity"),
    ]


@pytest.fixture
def tasks(texts, tmp_path):
    return [
        *("--tasks", f"wikitext2={texts / 'evaluation.txt'}", "--window", "32"),
        *("--output", tmp_path / "results"),
    ]


def records(folder):
    found, problems = store.load_all(folder)
    assert problems == []
    return {record.spec.method.name: record for record in found}


def test_compress_saves_what_run_saves(cli, options, tasks, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    code, out, _ = cli("compress", *options, "--method", "latentllm", "--save", one)
    assert code == 0
    assert f"{one}: latentllm, " in out
    code, _, errors = cli("run", *options, *tasks, "--save", two)
    assert code == 0
    assert f"saved to {two}" in errors
    for name in ("config.json", "model.safetensors"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
    first, second = read_saved_record(one), read_saved_record(two)
    assert first.origin == second.origin
    assert first.compression == second.compression
    assert first.records == ()
    (record,) = second.records
    assert record == records(tmp_path / "results")["latentllm"]
    assert "Nothing yet" in (one / "README.md").read_text()
    metric = record.result.metrics[0]
    assert f"| wikitext2 | {metric.name} | {metric.value:.4g} |" in (two / "README.md").read_text()


@pytest.fixture
def measured(cli, options, tasks, tmp_path):
    """A saved model and the record of its evaluation before it was saved."""
    assert cli("run", *options, *tasks, "--ratio", "0.4", "--save", tmp_path / "small")[0] == 0
    return tmp_path / "small", records(tmp_path / "results")["latentllm"]


def test_a_saved_model_measures_as_it_did_and_says_what_it_is(cli, tasks, measured, tmp_path):
    folder, before = measured
    assert cli("run", "--model", folder, *tasks, "--output", tmp_path / "again")[0] == 0
    (record,) = records(tmp_path / "again").values()
    assert record.result == before.result
    assert record.compression == before.compression
    assert record.calibration == before.calibration
    assert record.spec == before.spec.model_copy(update={"model": str(folder)})
    assert record.reference is None
    assert record.run_id != before.run_id
    assert record.model.parameters == before.compression.parameters
    assert record.model.bytes == before.compression.bytes
    assert "calibrate" not in record.timings
    assert "compress" not in record.timings
    code, _, errors = cli("run", "--model", folder, *tasks, "--output", tmp_path / "again")
    assert code == 0
    assert "nothing to do" in errors


def test_a_saved_model_does_not_rank_as_dense(cli, tasks, measured, tmp_path):
    folder, _ = measured
    cli("run", "--model", folder, *tasks, "--output", tmp_path / "again")
    board = tmp_path / "board"
    assert cli("leaderboard", "--results", tmp_path / "again", "--output", board)[0] == 0
    text = (board / "leaderboard.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert any("latentllm" in row for row in rows)
    assert not any("dense" in row for row in rows)


@pytest.mark.parametrize(
    "more",
    [
        ["--method", "svd"],
        ["--ratio", "0.2"],
        ["--save", "x"],
        ["--samples", "3"],
        ["--junction", "left"],
    ],
)
def test_a_saved_model_is_not_compressed_again(more, cli, tasks, measured):
    folder, before = measured
    outcome = cli("run", "--model", folder, *tasks, *more)
    assert one_line(outcome, "compressed already", f"compress {before.spec.model}") == USAGE


def test_compress_refuses_a_saved_model(cli, measured, options, tmp_path):
    folder, _ = measured
    outcome = cli("compress", *options, "--model", folder, "--save", tmp_path / "twice")
    assert one_line(outcome, "compressed already; compress the original model") == USAGE
    assert not (tmp_path / "twice").exists()


def test_calibration_data_is_not_evaluated_on_later_either(cli, measured, texts, tmp_path):
    folder, _ = measured
    task = f"wikitext2={texts / 'calibration.txt'}"
    outcome = cli("run", "--model", folder, "--tasks", task, "--output", tmp_path / "again")
    assert one_line(outcome, "both calibration and evaluation data") == USAGE


def test_several_models_get_folders_of_their_own(cli, options, tasks, tmp_path):
    small = tmp_path / "small"
    asked = [*options, *tasks, "--method", "svd", "latentllm", "--ratio", "0.2", "0.4"]
    assert cli("run", *asked, "--save", small)[0] == 0
    names = {path.name for path in small.iterdir()}
    assert names == {
        f"{label}-{ratio}"
        for label in ("svd-block-identity", "latentllm")
        for ratio in ("0.2", "0.4")
    }
    for path in small.iterdir():
        known = harness.load(path)
        assert f"{known.origin.ratio:g}" in path.name
        assert known.origin.method.name in path.name
    before = {path: path.stat().st_mtime_ns for path in small.iterdir()}
    code, _, errors = cli("run", *asked, "--save", small)
    assert code == 0
    assert "nothing to do" in errors
    assert {path: path.stat().st_mtime_ns for path in small.iterdir()} == before
    shutil.rmtree(small / "latentllm-0.4")
    code, _, errors = cli("run", *asked, "--save", small)
    assert code == 0
    assert "compressing again to save" in errors
    assert f"saved to {small / 'latentllm-0.4'}" in errors
    assert len(read_saved_record(small / "latentllm-0.4").records) == 1


def test_a_compression_that_fails_is_told_where_only_saving_is_left(
    cli, options, tasks, measured, monkeypatch
):
    folder, _ = measured
    shutil.rmtree(folder)

    def broken(*_, **__):
        raise NonFiniteError("the weights hold NaN")

    monkeypatch.setattr(runner, "compress_model", broken)
    outcome = cli("run", *options, *tasks, "--ratio", "0.4", "--save", folder)
    assert "error: the weights hold NaN" in outcome[2]
    assert outcome[0] == NonFiniteError.exit_code
    assert not folder.exists()


def test_a_folder_that_is_taken_is_found_before_the_work(cli, options, tasks, tmp_path):
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "thesis.tex").write_text("mine")
    for command in (["run", *options, *tasks], ["compress", *options]):
        outcome = cli(*command, "--save", taken)
        assert one_line(outcome, f"{taken} exists and is no saved model") == USAGE
    assert not (tmp_path / "results").exists()


def test_another_model_is_replaced_only_by_force(cli, options, tasks, measured):
    folder, _ = measured
    asked = ["run", *options, *tasks, "--ratio", "0.2", "--save", folder]
    assert one_line(cli(*asked), "holds a saved model; pass --force") == USAGE
    assert read_saved_record(folder).origin.ratio == 0.4
    assert cli(*asked, "--force")[0] == 0
    assert read_saved_record(folder).origin.ratio == 0.2
    assert one_line(cli("compress", *options, "--save", folder), "pass --force") == USAGE
    assert cli("compress", *options, "--save", folder, "--force")[0] == 0
    assert read_saved_record(folder).origin.ratio == 0.3


def test_export_writes_an_ordinary_checkpoint(cli, tasks, measured, tmp_path):
    folder, before = measured
    dense = tmp_path / "dense"
    code, out, _ = cli("export", folder, "--dense", dense)
    assert code == 0
    assert str(dense) in out
    small, whole = harness.load(folder), harness.load_model(str(dense))
    assert whole.compression is None
    torch.testing.assert_close(
        whole.model(**inputs_of(small)).logits, logits(small), rtol=1e-4, atol=1e-4
    )
    assert sum(p.numel() for p in whole.model.parameters()) > before.compression.parameters
    assert (
        one_line(cli("export", folder, "--dense", dense), "exists and is no saved model") == USAGE
    )
    assert one_line(cli("export", dense, "--dense", tmp_path / "x"), "no model saved by") == USAGE
    assert (
        one_line(cli("export", folder), "one of the arguments --dense --narrow --gguf is required")
        == USAGE
    )


def test_a_seed_a_scope_and_a_limit_are_on_the_card(measured):
    saved = read_saved_record(measured[0])
    (record,) = saved.records
    limited = record.model_copy(
        update={
            "spec": record.spec.model_copy(
                update={"task": record.spec.task.model_copy(update={"limit": 3})}
            )
        }
    )
    card = model_card(saved.model_copy(update={"records": (limited,)}))
    assert "wikitext2 (limited to 3)" in card
    assert "calibrated on 4 samples of" in card
    more = saved.origin.calibration.model_copy(update={"self_samples": 3})
    origin = saved.origin.model_copy(update={"calibration": more})
    card = model_card(saved.model_copy(update={"origin": origin}))
    assert "calibrated on 3 samples of the model's own and 4 samples of" in card
    assert "base_model" not in card  # hubs take no folder for one
    hub = {"reference": "org/name@main", "fingerprint": "0" * 40}
    origin = saved.origin.model_copy(update={"model": saved.origin.model.model_copy(update=hub)})
    card = model_card(saved.model_copy(update={"origin": origin}))
    assert "base_model: org/name\n" in card


def test_a_card_says_that_the_weights_had_been_rounded_before(measured):
    saved = read_saved_record(measured[0])
    model = saved.origin.model.model_copy(update={"precision": "GGUF Q4_1"})
    card = model_card(
        saved.model_copy(update={"origin": saved.origin.model_copy(update={"model": model})})
    )
    assert "\n\nIts weights lie on the grid of GGUF Q4_1, " in card


def test_the_record_in_the_folder_is_the_sealed_one(measured):
    folder, before = measured
    content = json.loads((folder / "record.json").read_text())
    assert content["records"][0]["digest"] == before.digest
