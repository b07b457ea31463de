"""``harness gate``: its actions, reports and exit codes."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from harness.cli.main import main
from harness.gate.reports import junit, markdown
from harness.gate.verdict import CellVerdict, Verdict
from harness.records import store
from tests.gate.records import LOSSES, draws, perplexity, shifted

NASTY = 'a|b <script>alert("1")</script> `x` *y*\n\x00 \N{SNOWMAN}' + "z" * 300


def save(folder, *records):
    for record in records:
        store.save(record, folder)
    return str(folder)


@pytest.fixture
def gate(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    baseline = tmp_path / "gate.json"
    calibration = save(tmp_path / "draws", *draws())
    assert main(["gate", "calibrate", "--results", calibration, "--baseline", str(baseline)]) == 0

    def gate(action, *records, options=()):
        folder = tmp_path / f"records{len(list(tmp_path.iterdir()))}"
        capsys.readouterr()
        code = main(
            ["gate", action, "--results", save(folder, *records), "--baseline", str(baseline)]
            + [str(option) for option in options]
        )
        return code, *capsys.readouterr()

    return gate


def test_a_loss_is_found_and_once_accepted_passes(gate):
    worse = perplexity(shifted(0.1, 0.01))
    code, out, _ = gate("check", worse)
    assert (code, "fail: 1 fail of 1 cells" in out) == (1, True)
    code, out, _ = gate("accept", worse)
    assert code == 0
    assert gate("check", worse)[0] == 0
    assert gate("check", perplexity(LOSSES))[0] == 1


def test_inconclusive_fails_only_if_strict(gate):
    unclear = perplexity(shifted(0.011, 0.02, seed=3))
    assert gate("check", unclear)[0] == 0
    assert gate("check", unclear, options=["--strict"])[0] == 1


def test_one_verdict_gives_all_reports(gate, tmp_path, monkeypatch):
    summary = tmp_path / "summary.md"
    summary.write_text("before\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    files = {name: tmp_path / "out" / f"gate.{name}" for name in ("junit", "markdown", "json")}
    options = [part for name, path in files.items() for part in (f"--{name}", path)]
    assert gate("check", perplexity(shifted(0.1)), options=options)[0] == 1
    suite = ET.parse(files["junit"]).getroot()  # noqa: S314
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    plain = json.loads(files["json"].read_text(encoding="utf-8"))
    assert (plain["outcome"], plain["cells"][0]["outcome"]) == ("fail", "fail")
    assert plain["cells"][0]["loss"] == pytest.approx(0.1, abs=1e-5)
    text = files["markdown"].read_text(encoding="utf-8")
    assert "fail: 1 fail of 1 cells" in text
    assert summary.read_text(encoding="utf-8") == f"before\n{text}\n"


@pytest.mark.parametrize("action", ["accept", "calibrate"])
def test_a_full_disk_leaves_the_baseline_that_was_there(action, gate, tmp_path, monkeypatch):
    baseline = tmp_path / "gate.json"
    before = baseline.read_bytes()
    changed = [perplexity(shifted(0.1, 0.01))] if action == "accept" else draws()[:4]
    fsync = os.fsync

    def full(file):
        if ".gate.json." in str(Path(f"/proc/self/fd/{file}").readlink()):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(file)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        code, out, err = gate(action, *changed)
    assert (code, out) == (3, "")
    assert err == (
        f"harness: error: cannot write {baseline}: No space left on device; free some space or "
        "choose another folder\n"
    )
    assert baseline.read_bytes() == before
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert gate(action, *changed)[0] == 0
    assert baseline.read_bytes() != before


def test_a_full_disk_leaves_all_reports_that_were_there(gate, tmp_path, monkeypatch):
    files = {name: tmp_path / "out" / f"gate.{name}" for name in ("junit", "markdown", "json")}
    options = [part for name, path in files.items() for part in (f"--{name}", path)]
    assert gate("check", perplexity(LOSSES), options=options)[0] == 0
    before = {path: path.read_bytes() for path in files.values()}
    code, _, err = gate(
        "check", perplexity(shifted(0.1)), options=[*options[:4], "--json", "/dev/full"]
    )
    assert code == 3
    assert "cannot write /dev/full: No space left on device; free some space" in err
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert gate("check", perplexity(shifted(0.1)), options=options)[0] == 1
    assert all(path.read_bytes() != before[path] for path in files.values())


def test_a_full_disk_under_the_job_summary_is_told(gate, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "/dev/full")
    code, _, err = gate("check", perplexity(LOSSES))
    assert code == 3
    assert err.count("\n") == 1
    assert "cannot write /dev/full: No space left on device; free some space" in err


def test_a_report_may_go_down_a_pipe(gate, tmp_path):
    records = save(tmp_path / "candidate", perplexity(LOSSES))
    command = ["gate", "check", "--results", records, "--baseline", str(tmp_path / "gate.json")]
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli.main", *command, "--junit", "/dev/stdout"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert '<testsuite name="harness gate"' in done.stdout
    assert "Regression gate: pass" in done.stdout


def test_reports_hold_any_name():
    cell = CellVerdict(title=NASTY, outcome="fail", reason=NASTY)
    verdict = Verdict(false_alarm=0.01, confidence=0.99, cells=(cell,))
    suite = ET.fromstring(junit(verdict, strict=False))  # noqa: S314
    assert suite[0].get("name").startswith('a|b <script>alert("1")</script>')
    table = [line for line in markdown(verdict).splitlines() if line.startswith("|")]
    assert len(table) == 3
    assert table[2].count("|") == table[0].count("|")
    assert "<script>" not in table[2]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["check"], "either a recipe to run or --results"),
        (["check", "r.yaml", "--results", "x"], "either a recipe to run or --results"),
        (["check", "--results", "nowhere"], "no folder nowhere"),
        (["check", "--results", ".", "--output", "x"], "--output is for the records of a recipe"),
        (["check", "--results", ".", "--baseline", "none.json"], "harness gate calibrate"),
        (["accept", "--results", ".", "--cell", "nothing like it"], "no cell matches"),
        (["calibrate", "--results", ".", "--minimum-effect", "0"], "its range: more than 0"),
        (["chekc"], "invalid choice: 'chekc'"),
        ([], "ACTION"),
    ],
)
def test_mistakes_are_one_line_with_the_fix(gate, tmp_path, monkeypatch, capsys, arguments, part):
    monkeypatch.chdir(tmp_path)
    assert main(["gate", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert part in line


def test_a_recipe_is_run_anew_and_its_records_are_kept_where_asked(
    tmp_path, capsys, model_folder, texts
):
    recipe = tmp_path / "gate.yaml"
    recipe.write_text(
        f"""
models: ["{model_folder("opt")}"]
methods: [svd]
ratios: [0.3]
tasks: [{{name: wikitext2, data: "{texts / "evaluation.txt"}", options: {{window: 32}}}}]
calibration: {{text: "{texts / "calibration.txt"}", samples: 4, length: 16}}
""",
        encoding="utf-8",
    )
    baseline, kept = tmp_path / "gate.json", tmp_path / "kept"
    options = ["--baseline", str(baseline), "--output", str(kept)]
    assert main(["gate", "calibrate", str(recipe), "--seeds", "3", *options]) == 0
    assert len(list(kept.glob("*.json"))) == 4  # the dense reference and three draws
    capsys.readouterr()
    old = {path: path.read_bytes() for path in kept.glob("*.json")}
    assert main(["gate", "check", str(recipe), *options]) == 0
    assert "pass: 2 pass of 2 cells" in capsys.readouterr().out
    assert sum(path.read_bytes() != content for path, content in old.items()) == 2
