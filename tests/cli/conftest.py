from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from harness.plugins.registry import _entry_points


@pytest.fixture
def command(model_folder, texts, tmp_path) -> Callable[..., list[str]]:
    """A small ``run`` that works, with more arguments at its end; later ones win."""

    def build(
        *more: object,
        model: Path | None = None,
        output: Path | None = None,
        options: Sequence[str] = ("--window", "32"),
    ) -> list[str]:
        return [
            *("run", "--model", str(model or model_folder("llama"))),
            *("--tasks", f"wikitext2={texts / 'evaluation.txt'}"),
            *("--calibration", str(texts / "calibration.txt")),
            *("--samples", "4", "--length", "16", *options),
            *("--method", "svd", "--output", str(output or tmp_path / "results")),
            *map(str, more),
        ]

    return build


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder on ``sys.path`` to install packages into."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    _entry_points.cache_clear()
    yield folder
    _entry_points.cache_clear()
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]
