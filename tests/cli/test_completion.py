"""What the shells offer, asked of real shells."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from harness.cli.completion import SHELLS
from harness.cli.main import command_names

ASK = """
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(( $# - 1 ))
_shtab_harness
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    from harness.cli.main import main

    folder = tmp_path_factory.mktemp("completion")
    for shell in SHELLS:
        with pytest.MonkeyPatch.context() as patch, (folder / shell).open("w") as file:
            patch.setattr("sys.stdout", file)
            assert main(["completion", shell]) == 0
    return folder


def offered(scripts, *words):
    done = subprocess.run(
        ["bash", "-c", ASK, "bash", scripts / "bash", "harness", *words],
        capture_output=True,
        text=True,
        check=True,
        cwd=scripts,
    )
    return done.stdout.split()


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_one_of_its_shell(scripts, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run([shell, "-n", scripts / shell], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("shell", SHELLS)
def test_every_script_knows_commands_options_and_names(scripts, shell):
    text = (scripts / shell).read_text()
    for word in (
        *command_names(),
        "junction",
        "asvd-rootcov",
        "block-identity",
        "builtin:opt-tiny",
    ):
        assert word in text


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["le"], ["leaderboard"]),
        (["run", "--meth"], ["--method"]),
        (["run", "--method", "la"], ["latentllm"]),
        (["run", "--method", "svd", "asvd-r"], ["asvd-rootcov"]),
        (["run", "--method", "svd", "--tasks", "wiki"], ["wiki-excerpt", "wikitext2"]),
        (["run", "--model", "smol"], ["smollm2-135m"]),
        (["run", "--calibration", "mini-s"], ["mini-scienceqa"]),
        (["run", "--junction", "block-identity-"], ["block-identity-output"]),
        (["run", "--dtype", "b"], ["bfloat16"]),
        (["sweep", "--engine", "loc"], ["local"]),
        (["gate", "cal"], ["calibrate"]),
        (["gate", "check", "--str"], ["--strict"]),
        (["list", "fam"], ["families"]),
        (["completion", "z"], ["zsh"]),
        (["show", "fi"], ["fish"]),
        (["plan", "ba"], ["bash"]),
        (["leaderboard", "--results", "zs"], ["zsh"]),
    ],
    ids=" ".join,
)
def test_bash_completes(scripts, words, answer):
    assert offered(scripts, *words) == answer


def test_bash_offers_nothing_for_what_does_not_exist(scripts):
    assert offered(scripts, "run", "--method", "zzz") == []
