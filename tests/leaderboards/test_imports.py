from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module",
    [
        "harness.records.store",
        "leaderboards.board",
        "leaderboards.formats",
        "leaderboards.command",
    ],
)
def test_nothing_heavy_is_imported(module):
    heavy = ("torch", "transformers", "numpy", "vl_convert", "jinja2")
    code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
