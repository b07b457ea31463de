"""The commands on a tiny model: what they print and write when all is well."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from harness.cli.main import main
from harness.records import store
from harness.records.record import RunRecord
from tests.helpers.plugin_packages import METHOD, install

TASKS = {"wikitext2": "evaluation", "wiki-excerpt": "other"}


@pytest.fixture(scope="module")
def results(model_folder, texts, tmp_path_factory):
    """Records of two methods on two tasks."""
    from harness.cli.main import main

    folder = tmp_path_factory.mktemp("cli") / "results"
    tasks = [f"{task}={texts / f'{file}.txt'}" for task, file in TASKS.items()]
    arguments = ["--model", str(model_folder("qwen3")), "--method", "svd", "asvd-rootcov"]
    arguments += ["--junction", "block-identity", "--ratio", "0.3", "--tasks", *tasks]
    arguments += ["--calibration", str(texts / "calibration.txt"), "--samples", "4"]
    arguments += ["--length", "16", "--window", "32", "--output", str(folder)]
    assert main(["run", *arguments]) == 0
    return folder


def test_a_run_prints_a_table_and_writes_its_records(cli, command, tmp_path, texts):
    tasks = [f"{name}={texts / f'{file}.txt'}" for name, file in TASKS.items()]
    outcome = cli(*command("--tasks", *tasks, "--method", "svd", "asvd-l2", "--junction", "right"))
    assert outcome.code == 0
    for label in ("dense", "svd[right]", "asvd-l2[right]", "wiki-excerpt", "perplexity_token@32"):
        assert label in outcome.out
    assert len(list((tmp_path / "results").iterdir())) == 6


def test_a_run_says_where_it_is_and_where_its_records_are(cli, command, tmp_path):
    outcome = cli(*command("--ratio", "0.3", "0.5"))
    lines = outcome.err.splitlines()
    assert lines[0] == "loading the model"
    assert lines[1:3] == ["[1/3] dense on wikitext2", "[1/3] perplexity"]
    assert "[2/3] compressing with svd" in lines
    assert any(line.startswith("[3/3] svd 0.5 on wikitext2 (all done in") for line in lines)
    ids = {path.stem for path in (tmp_path / "results").iterdir()}
    where, what = lines[-2:]
    assert where.startswith(f"records in {tmp_path / 'results'}: ")
    assert set(where.rpartition(": ")[2].split()) == ids
    assert f"'harness leaderboard --results {tmp_path / 'results'}' ranks them all" in what


def test_a_second_run_says_that_there_is_nothing_to_do(cli, command, tmp_path):
    first = cli(*command())
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").iterdir()}
    second = cli(*command())
    assert second.code == 0
    assert second.err.splitlines()[0] == (
        f"2 of 2 cells are already in {tmp_path / 'results'}: nothing to do; --force repeats them"
    )
    assert second.out == first.out
    assert {path: path.stat().st_mtime_ns for path in times} == times
    third = cli(*command("--ratio", "0.3", "0.5"))
    assert third.err.splitlines()[0].endswith("running the rest")
    assert "already" not in cli(*command("--force")).err
    assert all(path.stat().st_mtime_ns > times[path] for path in times)


def test_json_lines_are_the_records(cli, command, tmp_path):
    outcome = cli(*command("--json"))
    records = [RunRecord.model_validate_json(line) for line in outcome.out.splitlines()]
    assert [record.spec.method.name for record in records] == ["dense", "svd"]
    for record in records:
        assert store.load(tmp_path / "results" / f"{record.run_id}.json") == record
    again = cli(*command("--json")).out.splitlines()
    assert [RunRecord.model_validate_json(line) for line in again] == records


def test_the_same_cell_asked_twice_is_one(cli, command, texts):
    task = f"wikitext2={texts / 'evaluation.txt'}"
    given = command("--tasks", task, task, "--method", "svd", "svd", "--ratio", "0.3", "0.30")
    assert len(cli(*given, "--json").out.splitlines()) == 2


def test_options_reach_the_methods_that_have_them(cli, command):
    given = command("--method", "svd", "latentllm", "--iterations", "1", "--joint", "qk", "ud")
    records = [
        json.loads(line)
        for line in cli(*given, "--bias-update", "never", "--json").out.splitlines()
    ]
    labels = [record["compression"]["label"] for record in records[1:]]
    assert labels == [
        "svd[bias_update=never]",
        "latentllm[bias_update=never, joint=qk+ud, iterations=1]",
    ]


def test_no_joint_pair_at_all(cli, command):
    given = command("--method", "latentllm", "--joint", "--json")
    label = json.loads(cli(*given).out.splitlines()[1])["compression"]["label"]
    assert label == "latentllm[joint=]"


def test_a_preset_yields_to_explicit_options(cli, command):
    given = command("--preset", "paper", "--json")
    spec = json.loads(cli(*given).out.splitlines()[1])["spec"]
    assert spec["method"]["options"]["propagation"] == "sequential"
    assert spec["calibration"]["samples"] == 4
    assert spec["calibration"]["sampling"] == "windows"
    assert spec["task"]["name"] == "wikitext2"


def test_a_limited_run_says_so(cli, command):
    record = json.loads(cli(*command("--limit", 2, "--json")).out.splitlines()[0])
    assert record["spec"]["task"]["limit"] == 2
    assert record["result"]["metrics"][0]["n"] == 2


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
def test_precision_is_recorded(cli, command, dtype):
    records = [
        json.loads(line) for line in cli(*command("--dtype", dtype, "--json")).out.splitlines()
    ]
    size = 8 if dtype == "float64" else 2
    for record in records:
        assert record["spec"]["dtype"] == dtype
        assert record["model"]["bytes"] == size * record["model"]["parameters"]


def test_show_prints_a_record_by_id_and_by_path(cli, results):
    record = next(r for r in store.load_all(results)[0] if r.compression)
    path = results / f"{record.run_id}.json"
    by_id = cli("show", record.run_id, "--results", results)
    assert by_id == cli("show", path)
    assert by_id.code == 0
    for part in (record.run_id, record.compression.label, "model.layers.1.mlp.down_proj"):
        assert part in by_id.out
    assert "[block-identity]" in by_id.out
    as_json = cli("show", path, "--json")
    assert RunRecord.model_validate_json(as_json.out) == record


def test_show_prints_the_reference_too(cli, results):
    record = next(r for r in store.load_all(results)[0] if not r.compression)
    assert "this is one" in cli("show", record.run_id, "--results", results).out


def test_leaderboard_writes_and_prints_both_boards(cli, results, tmp_path):
    outcome = cli("leaderboard", "--results", results, "--output", tmp_path / "new" / "board")
    assert outcome.code == 0
    assert outcome.out == (tmp_path / "new" / "board" / "leaderboard.md").read_text("utf-8")
    assert r"svd\[block-identity\]" in outcome.out
    board = json.loads((tmp_path / "new" / "board" / "leaderboard.json").read_text("utf-8"))
    assert board
    again = cli("leaderboard", "--results", results, "--output", tmp_path / "again")
    assert again.out == outcome.out


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("methods", ["svd", "asvd-rootcov", "latentllm", "harness"]),
        ("tasks", ["wikitext2", "wiki-excerpt", "lm-eval", "harness"]),
        ("families", ["opt", "llama", "qwen2", "qwen3"]),
        ("models", ["smollm2-135m"]),
        ("texts", ["c4-excerpt", "wikitext2", "ptb"]),
    ],
)
def test_list_prints_names_and_where_they_come_from(cli, what, names):
    outcome = cli("list", what)
    assert outcome.code == 0
    for name in names:
        assert name in outcome.out


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["run", "leaderboard", "list", "show"]),
        (["--help"], ["compress a model", "rank the recorded results"]),
        (["--version"], ["harness 0."]),
        (["run", "--help"], ["--ratio", "latentllm", "'harness run --method NAME"]),
        (["run", "--method", "svd", "--help"], ["--ratio", "--junction", "default left"]),
        (["run", "--tasks", "ptb", "arc_easy", "-h"], ["--window", "--num-fewshot"]),
        (["leaderboard", "--help"], ["--results"]),
    ],
    ids=" ".join,
)
def test_help_lists_what_there_is(capsys, arguments, parts):
    from harness.cli.main import main

    try:
        code = main(arguments)
    except SystemExit as end:
        code = end.code
    assert not code
    text = capsys.readouterr().out
    for part in parts:
        assert part in text


def test_a_third_partys_method_brings_its_own_options(cli, command, site):
    entries = {"harness.compressors": {"acme": "acme_method:plugin"}}
    install(site, "acme", entries, {"acme_method": METHOD})
    assert "acme 1.0" in cli("list", "methods").out
    given = command("--method", "svd", "acme", "--strength", "0.5", "--shapes", "a", "b", "--json")
    outcome = cli(*given)
    _, svd, acme = (json.loads(line) for line in outcome.out.splitlines())
    assert outcome.code == 0
    assert acme["compression"]["label"] == "acme[strength=0.5, shapes=a+b]"
    assert acme["spec"]["method"]["options"]["seed"] == 7
    assert acme["result"]["metrics"] != svd["result"]["metrics"]


def test_an_option_named_like_one_of_ours_carries_its_plugins_name(cli, command, site):
    entries = {"harness.compressors": {"acme": "acme_method:plugin"}}
    install(site, "acme", entries, {"acme_method": METHOD})
    given = command("--method", "acme", "--seed", "1", "--acme-seed", "9", "--json")
    record = json.loads(cli(*given).out.splitlines()[1])
    assert record["spec"]["seed"] == 1
    assert record["spec"]["method"]["options"]["seed"] == 9


def test_records_are_shown_and_ranked_without_heavy_imports(results, tmp_path):
    run_id = next(results.iterdir()).stem
    code = f"""
import sys
from harness.cli.main import main
assert main(["show", {run_id!r}, "--results", {str(results)!r}]) == 0
assert main(["leaderboard", "--results", {str(results)!r}, "--output", {str(tmp_path)!r}]) == 0
assert not {{"torch", "transformers", "lm_eval", "datasets"}} & sys.modules.keys()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_interrupt_is_no_traceback(cli, command, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.experiments.runner.run_plan", interrupt)
    outcome = cli(*command())
    assert outcome.code == 130
    assert outcome.err.count("\n") == 1
    assert "run again to go on" in outcome.err


@pytest.mark.parametrize(("told", "policy"), [(None, "passive"), ("active", "active")])
def test_idle_threads_sleep_unless_told_otherwise(monkeypatch, told, policy):
    monkeypatch.delenv("OMP_WAIT_POLICY")
    if told:
        monkeypatch.setenv("OMP_WAIT_POLICY", told)
    assert main(["list", "methods"]) == 0
    assert os.environ["OMP_WAIT_POLICY"] == policy
