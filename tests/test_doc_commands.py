"""The commands that the pages show: all are ones, and those that can run here do."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from harness.cli.main import main, whole_parser
from harness.compression.compressor import compressors
from harness.plugins.options import configure
from harness.support.offline import offline
from harness.sweep.engines.engine import engines
from tests.helpers.tiny_models import words

ROOT = Path(__file__).parents[1]
GUIDES = sorted(set((ROOT / "docs").glob("*.md")) - {ROOT / "docs/adding.md"})
"""``adding.md`` shows commands of plugins that only its own test installs."""
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *GUIDES]
QUICK = {"data.md", "methods.md"}
"""Pages whose commands take seconds together."""
ASIDE = re.compile(r"# (needs|takes) ")
"""How a block begins that cannot run here."""
YOURS = ("my_corpus.txt", "my_text.txt")
"""Files that a page takes for given."""

ENGINE_NEEDS = {"ray": "ray", "slurm": "submitit"}
"""What an optional part of the package brings; without it an engine's options are not checked."""


def fences(page):
    """Language and content of each fenced block."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def lines(block):
    """The commands of a block, one whole line each, comments left out."""
    whole = block.replace("\\\n", " ").splitlines()
    return [line for line in whole if not re.match(r"\s*(#|$)", line)]


def tokens(line):
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return list(lexer)


def commands(line):
    """The words of each command of a line: of several in a pipe, or one after the other."""
    parts = [[]]
    for token in tokens(line):
        if token in ("&&", "|"):
            parts.append([])
        else:
            parts[-1].append(token)
    return [part[: part.index(">")] if ">" in part else part for part in parts]


@cache
def parser():
    return whole_parser()


def check(command):
    """``command`` is one of the harness that parses, or names what there is."""
    match command:
        case ["harness", *arguments] if "--help" in arguments:
            assert arguments[0] in parser().format_help()
        case ["harness", *arguments]:
            check_names(vars(parser().parse_args(arguments)))
        case ["pip", "install", *_]:
            extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
                "optional-dependencies"
            ]
            named = re.findall(r"\.\[(.+?)\]", " ".join(command))
            assert {extra for names in named for extra in names.split(",")} <= extras.keys()
        case ["python", "-m", module, *_]:
            assert find_spec(module)


def check_names(given):
    methods = given.get("method", [])
    for name in [methods] if isinstance(methods, str) else methods:
        assert name in compressors.names()
    if "engine" in given and find_spec(ENGINE_NEEDS.get(given["engine"], "harness")):
        engine = engines.get(given["engine"])
        options = dict(option.split("=") for option in given["engine_option"])
        configure(engine.config, options, "engine")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_shown_is_one(page):
    for language, block in fences(page):
        if language == "bash":
            for line in lines(block):
                for command in commands(line):
                    check(command)


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder to work in, with the texts that a reader has."""
    for seed, name in enumerate(YOURS):
        (tmp_path / name).write_text(words(seed, 2000))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    with offline():
        yield tmp_path


def runs(page):
    return any(
        language in ("bash", "python") and not ASIDE.match(block)
        for language, block in fences(page)
    )


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[] if page.name in QUICK else [pytest.mark.slow])
        for page in GUIDES
        if runs(page)
    ],
    ids=lambda page: page.name,
)
def test_the_commands_of_a_guide_run(page, desk, one_thread, capsys):
    for language, block in fences(page):
        if language == "yaml" and (name := re.match(r"# (\S+\.yaml)\n", block)):
            (desk / name[1]).write_text(block)
        elif ASIDE.match(block):
            continue
        elif language == "python":
            (desk / "page.py").write_text(block)
            runpy.run_path("page.py")
        elif language == "bash":
            for line in lines(block):
                run(line, capsys)


def run(line, capsys):
    """Run one line: a command of the harness in this process, all else in a shell."""
    first, *others = commands(line)
    if first[0] == "harness" and tokens(line) == first and not others:
        try:
            code = main(first[1:])
        except SystemExit as end:  # of --help
            code = end.code or 0
        assert code == 0, f"{line}\n{capsys.readouterr().err}"
        return
    done = subprocess.run(["bash", "-ec", line], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{line}\n{done.stderr}"
