"""Whatever is wrong ends in one line that names the cause and the fix, and the right exit code."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys

import huggingface_hub.constants
import pytest
import torch

from harness.records import store
from tests.helpers.local_task import OWN, write_task
from tests.helpers.plugin_packages import install

USAGE, INFRASTRUCTURE, INCOMPLETE = 2, 3, 4


def assert_one_line(outcome, code, *parts):
    *before, last = outcome.err.splitlines()
    assert last.startswith("harness: error: ")
    assert not any("error" in line for line in before), outcome.err
    for part in parts:
        assert part in last
    assert "Traceback" not in outcome.err
    assert outcome.code == code


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["rnu"], ["unknown command 'rnu'", "did you mean run?"]),
        (["zip"], ["unknown command 'zip'", "known: ", "leaderboard, list, merge"]),
        (["--verbose"], ["--verbose", "see 'harness --help'"]),
        (["run", "--mehtod", "svd"], ["unknown option '--mehtod'", "did you mean --method"]),
        (["run", "--ratios=0.3"], ["unknown option '--ratios'", "did you mean --ratio"]),
        (["run", "--dampign", "1"], ["unknown option '--dampign'", "did you mean --damping"]),
        (["run", "--model"], ["--model", "expected one argument", "see 'harness run --help'"]),
        (["run", "--model", "a", "b"], ["unexpected 'b'", "see 'harness run --help'"]),
        (["run", "--method"], ["--method", "expected at least one argument"]),
        (["run", "--dtype", "float8"], ["--dtype", "float8", "bfloat16"]),
        (["run", "--preset", "papre"], ["--preset", "papre", "paper"]),
        (["run", "--seed", "x"], ["--seed: 'x' is no whole number; its range: 0 to"]),
        (["list", "method"], ["'method'", "methods"]),
        (["list"], ["required: what", "see 'harness list --help'"]),
        (["show"], ["required: record"]),
        (["show", "a", "b"], ["unexpected 'b'"]),
        (["show", "0123456789abcdef"], ["no record 0123456789abcdef in results", "check the id"]),
        (["show", "."], [". is a folder", "one of the records in it"]),
        (["diff", "a", "b"], ["no record a in results", "check the id"]),
        (["show", "absent.json"], ["there is no record absent.json"]),
        (["leaderboard", "--result", "x"], ["unknown option '--result'", "mean --results"]),
        (["gate", "check", "--debgu"], ["unknown option '--debgu'", "did you mean --debug?"]),
        (["run", "--debgu"], ["did you mean --debug or --model or --dtype?"]),
        (["cache", "rm"], ["name keys that 'harness cache ls' shows", "--kind or --all"]),
        (["cache", "rm", "a", "--all"], ["name keys", "--kind or --all"]),
        (["leaderboard", "--results", "absent"], ["there is no folder absent"]),
    ],
    ids=" ".join,
)
def test_wrong_commands(cli, arguments, parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_one_line(cli(*arguments), USAGE, *parts)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--method", "latentlm"], ["unknown method 'latentlm'", "did you mean latentllm"]),
        (["--method", "svd", "pca"], ["unknown method 'pca'", "known: asvd-cov"]),
        (["--model", "smollm2-13m"], ["unknown model 'smollm2-13m'", "mean smollm2-135m"]),
        (["--model", "./absent"], ["no such file or folder: ./absent"]),
        (["--model", "absent.gguf"], ["no such file or folder: absent.gguf"]),
        (["--ratio", "1"], ["--ratio: 1.0 is outside its range: 0 or more, less than 1"]),
        (["--ratio", "0.3", "-0.1"], ["--ratio: -0.1 is outside its range"]),
        (["--ratio", "nan"], ["--ratio: nan is not finite"]),
        (["--ratio", "inf"], ["--ratio: inf is not finite"]),
        (["--ratio", "30%"], ["--ratio: '30%' is no number; its range: 0 or more"]),
        (["--samples", "0"], ["--samples: 0 is outside its range: 1 to", "pass at least 1"]),
        (["--length", "1"], ["--length: 1 is outside its range: 2 to"]),
        (["--batch-size", "-3"], ["--batch-size: -3 is outside its range: 1 to"]),
        (["--limit", "0"], ["--limit: 0 is outside its range: 1 to"]),
        (["--junction", "lefft"], ["option 'junction' of svd", "'left'", "got 'lefft'"]),
        (["--method", "asvd-l1", "--alpha", "x"], ["'alpha' of asvd-l1", "valid number"]),
        (["--method", "asvd-l1", "--alpha", "nan"], ["'alpha' of asvd-l1", "finite"]),
        (["--method", "latentllm", "--iterations", "1.5"], ["'iterations' of latentllm"]),
        (["--method", "latentllm", "--joint", "qk", "x"], ["'joint' of latentllm", "'vo'"]),
        (["--window", "1"], ["a window of 1 tokens predicts nothing"]),
        (["--tasks", "wikitex2"], ["not of lm-eval (which serves 'wikitex2')", "check the task's"]),
        (["--tasks", "wikitext2=."], [". is a folder; pass the path of an ordinary file"]),
        (["--window", "many"], ["'window' of wikitext2", "valid integer"]),
        (["--alpha", "0.5"], ["--alpha is an option of asvd-l1, not of svd"]),
        (["--joint", "qk"], ["--joint is an option of latentllm, not of svd"]),
        (["--num-fewshot", "2"], ["--num-fewshot is an option of lm-eval, not of wikitext2"]),
        (["--tasks", "=x.txt"], ["'=x.txt' is no task", "NAME=FILE"]),
        (["--tasks", "wikitext2="], ["'wikitext2=' is no task"]),
        (["--tasks", "wikitext2=absent.txt"], ["no such file or folder: absent.txt"]),
        (["--calibration", "absent.txt"], ["no such file or folder: absent.txt"]),
        (["--calibration", "c5"], ["unknown text 'c5'", "did you mean c4"]),
        (["--device", "gpu"], ["device 'gpu' cannot be used here", "--device cpu"]),
        (["--device", "meta"], ["device 'meta' cannot be used here", "--device cpu"]),
    ],
    ids=lambda value: " ".join(value) if value and value[0].startswith("--") else "",
)
def test_wrong_input_of_a_run(cli, command, arguments, parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_one_line(cli(*command(*arguments)), USAGE, *parts)
    assert not (tmp_path / "results").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there(cli, command):
    outcome = cli(*command("--device", "cuda"))
    assert_one_line(outcome, USAGE, "device 'cuda' cannot be used here", "pass --device cpu")


def test_an_unknown_task(cli, command, monkeypatch):
    from lm_eval.tasks import TaskManager

    index = TaskManager(include_defaults=False)
    monkeypatch.setattr("tasks.lm_eval.loading._whole_index", lambda: index)
    given = command("--tasks", "wikitex2", options=())
    assert_one_line(cli(*given), USAGE, "'wikitex2'", "did you mean wikitext2")


def test_a_text_in_the_place_of_a_task(cli, command, texts):
    path = texts / "other.txt"
    outcome = cli(*command("--tasks", path, options=()))
    assert_one_line(outcome, USAGE, f"'{path}' is a file, no task", f"wikitext2={path}")


def test_an_absent_task_file(cli, command):
    outcome = cli(*command("--tasks", "absent.yaml", options=()))
    assert_one_line(outcome, USAGE, "no task file 'absent.yaml'")


def test_data_for_a_task_that_takes_none(cli, command, texts):
    given = command("--tasks", f"boolq={texts / 'other.txt'}", options=())
    assert_one_line(cli(*given), USAGE, "lm-eval task 'boolq'", "YAML")


def test_the_same_text_for_both_purposes(cli, command, texts):
    outcome = cli(*command("--calibration", texts / "evaluation.txt"))
    assert_one_line(outcome, USAGE, "both calibration and evaluation", "another --calibration")


def test_too_little_calibration_text(cli, command, tmp_path):
    (tmp_path / "short.txt").write_text("the cat sat")
    outcome = cli(*command("--method", "asvd-l2", "--calibration", tmp_path / "short.txt"))
    assert_one_line(outcome, USAGE, "4 x 16 = 64 are asked", "--samples")
    assert list((tmp_path / "results").iterdir()) == []


def test_an_empty_text(cli, command, tmp_path):
    (tmp_path / "empty.txt").write_text("")
    outcome = cli(*command("--tasks", f"wikitext2={tmp_path / 'empty.txt'}"))
    assert_one_line(outcome, USAGE, "empty.txt", "holds no text")


@pytest.mark.parametrize("part", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_damaged_model(cli, command, model_folder, tmp_path, part):
    folder = tmp_path / "model"
    shutil.copytree(model_folder("llama"), folder)
    content = (folder / part).read_bytes()
    (folder / part).write_bytes(content[: len(content) // 2])
    outcome = cli(*command(model=folder))
    assert_one_line(outcome, INFRASTRUCTURE, str(folder), "fetch or copy it again")


def test_a_folder_that_is_no_model(cli, command, tmp_path):
    outcome = cli(*command(model=tmp_path))
    assert_one_line(outcome, USAGE, f"{tmp_path} is no model", "config.json")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--model", "facebook/opt-125m"], ["the model 'facebook/opt-125m'", "a local model"]),
        (["--calibration", "c4"], ["the text 'c4'", "--calibration PATH"]),
        (["--tasks", "ptb"], ["the text 'ptb'", "--tasks ptb=PATH", "--tasks wiki-excerpt"]),
    ],
)
def test_an_asset_of_the_hub_without_the_hub(cli, command, arguments, parts, monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    outcome = cli(*command(*arguments))
    assert_one_line(outcome, INFRASTRUCTURE, "HF_HUB_OFFLINE is set", *parts)


def test_the_installed_command_without_the_hub(command, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli.main", *command("--model", "facebook/opt-125m")],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == INFRASTRUCTURE
    assert done.stdout == ""
    assert re.fullmatch(
        r"harness: error: cannot get the model 'facebook/opt-125m' from the hub: HF_HUB_OFFLINE "
        r"is set .*; pass a local model folder.* instead\n",
        done.stderr,
    )


def test_an_output_folder_that_is_a_file(cli, command, tmp_path):
    (tmp_path / "file").write_text("")
    outcome = cli(*command(output=tmp_path / "file"))
    assert_one_line(outcome, INFRASTRUCTURE, f"{tmp_path / 'file'} is a file", "another folder")


def test_an_output_folder_that_cannot_be_written(cli, command, monkeypatch):
    def denied(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("harness.records.store.tempfile.TemporaryFile", denied)
    outcome = cli(*command())
    assert_one_line(outcome, INFRASTRUCTURE, "Permission denied", "make it writable")


def test_a_full_disk(cli, command, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("harness.support.files.os.fsync", full)
    assert_one_line(cli(*command()), INFRASTRUCTURE, "No space left on device", "free some space")


def test_a_board_that_cannot_be_written(cli, command, tmp_path):
    assert cli(*command()).code == 0
    (tmp_path / "board").write_text("")
    arguments = ("--results", tmp_path / "results", "--output", tmp_path / "board")
    outcome = cli("leaderboard", *arguments)
    assert_one_line(outcome, INFRASTRUCTURE, f"{tmp_path / 'board'}: File exists", "another")


def test_no_records_to_rank(cli, tmp_path):
    outcome = cli("leaderboard", "--results", tmp_path)
    assert_one_line(outcome, USAGE, f"{tmp_path} holds no records", "harness run")


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('float(right(guess, doc["answer"]))', 'doc["grade"]'),
        ("guess = max(", "guess = min((), key=max) or max("),
    ],
)
def test_a_function_of_the_user_that_fails_ends_with_2_and_the_other_tasks_are_recorded(
    cli, command, tmp_path, texts, monkeypatch, right, wrong
):
    task = write_task(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own.py").write_text(OWN.replace(right, wrong))
    line = 1 + OWN[: OWN.index(right)].count("\n")
    told = cli(*command("--tasks", task, f"wikitext2={texts / 'evaluation.txt'}"))
    assert told.code == 2
    last = told.err.splitlines()[-1]
    assert "cannot score the answer" in last
    assert f"({tmp_path / 'own.py'}:{line}); correct its file" in last
    records, _ = store.load_all(tmp_path / "results")
    assert [record.spec.task.name for record in records] == ["wikitext2"] * 2


def test_a_damaged_record(cli, command, tmp_path):
    assert cli(*command()).code == 0
    path = min((tmp_path / "results").iterdir())
    path.write_text(path.read_text().replace('"value": ', '"value": 1'))
    for arguments in (command(), ["show", path]):
        outcome = cli(*arguments)
        assert_one_line(outcome, USAGE, str(path), "changed after it was written", "delete it")
    board = tmp_path / "board"
    outcome = cli("leaderboard", "--results", tmp_path / "results", "--output", board)
    assert outcome.code == 0
    assert path.name in outcome.out
    assert "changed after it was written" in outcome.out


def test_cells_that_fail(cli, command, tmp_path):
    outcome = cli(*command("--ratio", 0.3, 0.99))
    assert_one_line(
        outcome, INCOMPLETE, "1 of 3 cells failed", "model.layers.0: ratio 0.99 leaves no rank"
    )
    assert "failed" in outcome.out
    assert len(list((tmp_path / "results").iterdir())) == 3


def test_debugging_shows_where_a_cell_failed(cli, command, monkeypatch, caplog):
    def explode(*_):
        raise ValueError("boom")

    monkeypatch.setattr("harness.compression.local.compress_layer", explode)
    outcome = cli(*command("--method", "asvd-l2", "--debug"))
    assert outcome.code == INCOMPLETE
    assert "method 'asvd-l2' failed: ValueError: boom" in outcome.err
    assert "in explode" in caplog.text


def test_a_fault_of_ours_is_no_verdict_of_a_gate(cli, monkeypatch):
    def explode(_):
        raise KeyError("boom")

    monkeypatch.setattr("harness.cli.show.execute", explode)
    outcome = cli("show", "x")
    assert_one_line(outcome, INFRASTRUCTURE, "unexpected KeyError: 'boom'", "--debug shows where")
    assert "in explode" in cli("show", "x", "--debug").err


def test_no_memory_is_left(cli, monkeypatch):
    def exhaust(_):
        raise MemoryError

    monkeypatch.setattr("harness.cli.show.execute", exhaust)
    assert_one_line(cli("show", "x"), INFRASTRUCTURE, "out of memory", "--batch-size")


def test_a_reader_that_has_seen_enough(tmp_path):
    """As in ``harness list methods | head -0``: the pipe is closed before anything is written."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "harness.cli.main", "list", "methods"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_debugging_shows_the_traceback(cli, command):
    outcome = cli(*command("--ratio", "2", "--debug"))
    assert outcome.code == USAGE
    assert "Traceback" in outcome.err


def test_a_broken_plugin_disturbs_only_who_chooses_it(cli, command, site):
    entries = {"harness.compressors": {"broken": "acme_broken:plugin"}}
    install(site, "acme", entries, {"acme_broken": "import absent_library"})
    assert cli(*command()).code == 0
    assert "broken" in cli("list", "methods").out
    outcome = cli(*command("--method", "broken"))
    assert_one_line(outcome, USAGE, "method 'broken' of acme 1.0 does not load", "absent_library")


def test_two_packages_with_one_name(cli, command, site):
    for package in ("acme", "zeta"):
        install(site, package, {"harness.compressors": {"mine": f"{package}:plugin"}})
    for arguments in (command(), ["list", "methods"]):
        outcome = cli(*arguments)
        assert_one_line(outcome, USAGE, "'mine'", "acme 1.0 and zeta 1.0", "uninstall one")
