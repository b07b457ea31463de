"""What is imported when: nothing heavy before it is needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import harness
from harness.cli.main import command_names

HEAVY = (
    "torch",
    "transformers",
    "lm_eval",
    "lmms_eval",
    "datasets",
    "huggingface_hub",
    "tokenizers",
    "pandas",
    "numpy",
    "scipy",
)


def imported_by(code: str, folder: Path) -> list[str]:
    report = f"\nimport sys, json\nprint(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", code + report],
        check=True,
        capture_output=True,
        text=True,
        cwd=folder,
    )
    return json.loads(done.stdout.splitlines()[-1])


COMMAND = """
from harness.cli.main import main
try:
    assert main({}) == {}
except SystemExit as end:
    assert not end.code
"""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        ([], 0),
        (["list", "methods"], 0),
        (["list", "tasks"], 0),
        (["list", "families"], 0),
        (["list", "models"], 0),
        (["list", "texts"], 0),
        *(([name, "--help"], 0) for name in command_names()),
        *((["gate", action, "--help"], 0) for action in ("check", "accept", "calibrate")),
        (["show", "0123456789abcdef"], 2),
        (["leaderboard"], 2),
        (["cache", "verify"], 0),
        (["cache", "rm", "--all"], 0),
        (["rnu"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_light_commands_import_nothing_heavy(arguments, code, tmp_path):
    assert imported_by(COMMAND.format(arguments, code), tmp_path) == []


def test_listing_the_cache_imports_only_what_knows_where_the_hub_keeps_its_own(tmp_path):
    assert imported_by(COMMAND.format(["cache", "ls"], 0), tmp_path) == ["huggingface_hub"]


def test_the_package_itself_is_light(tmp_path):
    assert imported_by("import harness; assert 'compress' in harness.__all__", tmp_path) == []


def test_every_public_name_stays_what_it_is_once_all_are_imported():
    for _ in range(2):
        for name in harness.__all__:
            assert getattr(harness, name).__name__ == name


def test_an_absent_name_of_the_package_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'compres'"):
        harness.compres  # noqa: B018
