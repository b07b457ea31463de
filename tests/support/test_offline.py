"""With ``--offline`` no process reaches for a network; without it they would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import constants

from harness.cli.main import main
from harness.support.offline import is_offline, offline
from tests.helpers.tiny_wheels import make_wheel
from tests.support.blocked_sockets import Blocked

TEXT = "pypi:tiny-asset==1.0!tiny_asset/text.txt"
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def blocked(tmp_path: Path) -> Blocked:
    return Blocked(tmp_path)


@pytest.fixture
def harness(blocked: Blocked, tmp_path: Path) -> Command:
    """``harness ...`` in a process of its own that reaches no network."""

    def call(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "harness.cli.main", *map(str, arguments)],
            env=blocked.environment | environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    return call


@pytest.fixture
def recipe(tmp_path: Path, model_folder: Callable[[str], Path], texts: Path) -> Path:
    """Two models; calibration comes from a wheel."""
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"""
models: [builtin:opt-tiny, "{model_folder("llama")}"]
methods: [svd]
ratios: [0.3]
tasks: [{{name: wikitext2, data: "{texts / "evaluation.txt"}", options: {{window: 16}}}}]
calibration: {{text: "{TEXT}", samples: 2, length: 8}}
"""
    )
    return path


@pytest.fixture
def fetched(recipe: Path, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The recipe with a warm cache; the place where its wheel came from is gone."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    wheel = make_wheel(tmp_path / "links", (texts / "calibration.txt").read_text())
    with monkeypatch.context() as only:
        only.setenv("PIP_NO_INDEX", "1")
        only.setenv("PIP_FIND_LINKS", str(wheel.parent))
        assert main(["fetch", str(recipe)]) == 0
    wheel.unlink()
    return recipe


@pytest.mark.slow  # seven interpreters that import torch
def test_a_run_a_sweep_and_a_plan_offline_open_nothing(
    harness: Command, blocked: Blocked, fetched: Path, texts: Path
) -> None:
    done = harness("sweep", fetched, "--offline", "--workers", 2, "--output", "swept")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(": complete") == 4
    assert blocked.guarded == 5
    done = harness("plan", fetched, "--offline", "--output", "swept")
    assert "4 cells, 4 done" in done.stdout
    task = f"wikitext2={texts / 'evaluation.txt'}"
    sizes = ("--samples", 2, "--length", 8, "--window", 16, "--method", "svd")
    arguments = ("--model", "builtin:opt-tiny", "--tasks", task, "--calibration", TEXT, *sizes)
    done = harness("run", "--offline", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    assert {json.loads(line)["status"] for line in done.stdout.splitlines()} == {"complete"}
    assert blocked.guarded == 7
    assert blocked.attempts == []


def test_the_environment_serves_as_well_as_the_option(
    harness: Command, blocked: Blocked, texts: Path
) -> None:
    task = f"c4={texts / 'evaluation.txt'}"
    done = harness("run", "--model", "acme/absent", "--tasks", task, HARNESS_OFFLINE="1")
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "'acme/absent'" in done.stderr
    assert "'harness fetch' gets it" in done.stderr
    assert blocked.attempts == []


@pytest.mark.parametrize(
    "missing",
    [
        ("--calibration", TEXT),
        ("--calibration", "c4"),
        ("--tasks", "easy-vqa"),
        ("--tasks", "piqa"),
    ],
    ids=" ".join,
)
def test_what_is_missing_is_named_with_the_command_that_gets_it(
    missing: tuple[str, str],
    texts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cold"))
    # The option has to see to these itself.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: pytest.fail("a network was asked"))
    task = f"c4={texts / 'evaluation.txt'}"
    arguments = ["run", "--model", "builtin:opt-tiny", "--tasks", task, *missing, "--offline"]
    assert main(arguments) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert missing[1] in line
    assert "'harness fetch' gets it" in line


@pytest.mark.parametrize(
    "command",
    [["run"], ["sweep"], ["plan"], ["gate", "check"], ["gate", "accept"], ["gate", "calibrate"]],
    ids=" ".join,
)
def test_every_command_that_may_fetch_has_the_option(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*command, "--help"])
    assert "--offline" in capsys.readouterr().out


def test_the_option_ends_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("PIP_NO_INDEX", "0")
    before = dict(os.environ)
    with offline():
        assert is_offline()
        assert constants.is_offline_mode()
        assert os.environ["PIP_NO_INDEX"] == "1"
    assert not is_offline()
    assert not constants.is_offline_mode()
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("missing", "asks"),
    [(("--model", "acme/absent"), "main.py"), (("--calibration", TEXT), "pip")],
    ids=["hub", "index"],
)
def test_without_the_option_a_network_is_asked_and_refused(
    harness: Command,
    blocked: Blocked,
    tmp_path: Path,
    texts: Path,
    missing: tuple[str, str],
    asks: str,
) -> None:
    arguments = ("--model", "builtin:opt-tiny", "--tasks", f"c4={texts / 'evaluation.txt'}")
    done = harness("run", *arguments, *missing, HARNESS_CACHE=str(tmp_path / "cold"))
    assert done.returncode == 3
    assert asks in blocked.attempts[0]
