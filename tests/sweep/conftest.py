from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def small_recipe(tmp_path, model_folder, texts) -> Callable[..., Path]:
    """A recipe of a tiny model on local files; one dense cell and one for each ratio."""

    def write(ratios: str = "[0.3]", more: str = "") -> Path:
        path = tmp_path / "recipe.yaml"
        path.write_text(
            f"""
models: ["{model_folder("opt")}"]
methods: [{{name: svd, options: {{propagation: original}}}}]
ratios: {ratios}
tasks: [{{name: wikitext2, data: "{texts / "evaluation.txt"}", options: {{window: 32}}}}]
calibration: {{text: "{texts / "calibration.txt"}", samples: 4, length: 16}}
{more}
""",
            encoding="utf-8",
        )
        return path

    return write
