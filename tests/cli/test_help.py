"""Help explains what may be written, what it means, in which range and what is the default."""

from __future__ import annotations

import argparse
import subprocess
import sys
from contextlib import suppress

import pytest

from harness.cli.main import main, whole_parser
from tests.helpers.plugin_packages import METHOD, install

EXPLAINED = METHOD.replace("class Config(CompressorConfig):", '''class Config(CompressorConfig):
    """Options.

    Attributes:
        strength: factor of all weights, 100 % of it.
    """
''')  # fmt: skip


def shown(capsys, *arguments):
    """What a command prints, each run of blanks as one."""
    with suppress(SystemExit):
        assert main(arguments) == 0
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("width", ["80", "160"])
@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (
            ["run", "--method", "twinroot", "--help"],
            [
                "--shrinkage FLOAT|held-out share of the inputs' correlations that is not believed",
                "(0 to 1; default held-out)",
                "--damping FLOAT diagonal added to the inputs' second moment, relative to its mean",
                "diagonal (0 to 1,000,000; default 0.01)",
                "--batch-size BATCH_SIZE sequences per forward pass; an evaluation that runs out",
                "calibration does not (1 to 1,000,000,000; default 8)",
                "calibration sequences (1 to 1,000,000,000; default 24, of questions 64)",
            ],
        ),
        (
            ["compress", "--method", "latentllm", "--help"],
            ["--rope-window INT|all relative offsets", "(1 to 1,000,000; default 10)", "qk vo ud"],
        ),
        (
            ["run", "--method", "svd", "twinroot", "--help"],
            ["(default uniform for svd, fisher for twinroot)"],
        ),
        (
            ["run", "--tasks", "easy-vqa", "lmms-eval:x", "-h"],
            ["of easy-vqa: number of tokens", "of lmms-eval: number of tokens", "default 128"],
        ),
        (["sweep", "--help"], ["'harness sweep --engine NAME --help' shows them", "cells at once"]),
        (["sweep", "--engine", "local", "--help"], ["options of local", "on this machine"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value[0], str) and value[0] != "(" else "",
)
def test_help_explains(capsys, monkeypatch, width, arguments, parts):
    monkeypatch.setenv("COLUMNS", width)
    text = shown(capsys, *arguments)
    for part in parts:
        assert part in text


def test_help_of_an_engine_shows_how_its_options_are_written(capsys):
    pytest.importorskip("submitit", reason="needs harness[slurm]")
    text = shown(capsys, "sweep", "--engine", "slurm", "--help")
    assert "each written --engine-option NAME=VALUE" in text
    assert (
        "time=INT minutes for one cell, after which Slurm ends it (1 to 1,000,000,000; default 60)"
        in text
    )


def test_every_option_of_every_command_is_explained():
    def check(parser):
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for own in action.choices.values():
                    check(own)
                continue
            assert action.help, (parser.prog, action.dest)
            assert action.type not in (int, float), (parser.prog, action.dest)

    check(whole_parser())


def test_a_verbose_list_is_what_help_shows(capsys):
    text = shown(capsys, "list", "tasks", "--verbose")
    assert "wikitext2 (harness" in text
    assert "--window INT number of tokens the model sees at once" in text
    assert "(2 to 1,000,000,000; default 2048)" in text
    text = shown(capsys, "list", "engines", "--verbose")
    assert "processes on this machine" in text
    assert "slurm (harness" in text


def test_a_verbose_list_survives_broken_plugins(capsys, site):
    modules = {
        "acme_good": EXPLAINED,
        "acme_absent": "import absent_library",
        "acme_half": METHOD.replace("seed: int = 7", "seed: int"),
    }
    entries = {name: f"acme_{name}:plugin" for name in ("good", "absent", "half")}
    install(site, "acme", {"harness.compressors": entries}, modules)
    text = shown(capsys, "list", "methods", "--verbose")
    assert "good (acme 1.0): third party" in text
    assert "--strength FLOAT factor of all weights, 100 % of it (any number; default 1.0)" in text
    assert "absent (acme 1.0): error: method 'absent' of acme 1.0 does not load" in text
    assert "half (acme 1.0): error: its options cannot be read" in text
    assert "svd (harness" in text


def test_families_have_no_options(capsys):
    text = shown(capsys, "list", "families", "--verbose")
    assert "llama (harness" in text
    assert "error" not in text


def test_models_have_nothing_to_be_verbose_about(cli):
    outcome = cli("list", "models", "--verbose")
    assert (outcome.code, "models have no options" in outcome.err) == (2, True)


def test_a_plain_list_imports_no_plugin():
    code = """
import sys
from harness.cli.main import main
assert main(["list", "methods"]) == main(["list", "engines"]) == 0
assert not {"torch", "transformers", "compressors", "harness.sweep.engines.local"} & {*sys.modules}
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--method", "asvd-l1", "--alpha", "-1"],
            "option 'alpha' of asvd-l1: -1 is outside its range: 0 to 10; pass at least 0",
        ),
        (["--method", "twinroot", "--shrinkage", "1.5"], "1.5 is outside its range: 0 to 1"),
        (["--method", "twinroot", "--gradient-damping", "nan"], "nan is not finite"),
        (["--method", "latentllm", "--rope-window", "0"], "0 is outside its range: 1 to"),
        (["--window", "1"], "'window' of wikitext2: 1 is outside its range: 2 to"),
        (["--tasks", "boolq", "--num-fewshot", "-1"], "'num_fewshot' of boolq: -1 is outside"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_out_of_range_is_said_before_anything_is_loaded(cli, command, arguments, message):
    options = () if "boolq" in arguments else ("--window", "32")
    outcome = cli(*command("--model", "absent/model", *arguments, options=options))
    assert (outcome.code, outcome.out) == (2, "")
    assert message in outcome.err


def test_out_of_range_in_compress(cli, tmp_path):
    given = ("--model", "absent/model", "--save", tmp_path / "model")
    outcome = cli("compress", *given, "--iterations", "-1")
    assert outcome.code == 2
    assert "option 'iterations' of latentllm: -1 is outside its range" in outcome.err
    outcome = cli("compress", *given, "--samples", "0")
    assert (outcome.code, "--samples: 0 is outside its range: 1 to" in outcome.err) == (2, True)


@pytest.mark.parametrize(
    ("methods", "window", "message"),
    [
        ("[{name: asvd-l1, options: {alpha: -1}}]", 32, "-1 is outside its range: 0 to"),
        ("[{name: asvd-l1, options: {alpha: .nan}}]", 32, "nan"),
        ("[svd]", 1, "1 is outside its range: 2 to"),
    ],
)
def test_out_of_range_in_a_recipe(cli, tmp_path, methods, window, message):
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"models: [absent/model]\nmethods: {methods}\nratios: [0.3]\n"
        f"tasks: [{{name: wiki-excerpt, options: {{window: {window}}}}}]\n"
    )
    for command in ("plan", "sweep"):
        outcome = cli(command, path, "--output", tmp_path / "results")
        assert outcome.code == 2
        assert message in outcome.err
    assert not (tmp_path / "results").exists()
