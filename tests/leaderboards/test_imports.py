from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "vl_convert", "jinja2")


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("harness.records.store", (*HEAVY, "numpy")),
        ("leaderboards.command", (*HEAVY, "numpy")),
        # A board tests differences.
        ("leaderboards.board", HEAVY),
        ("leaderboards.formats", HEAVY),
    ],
)
def test_nothing_heavy_is_imported(module, heavy):
    code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
