"""Which code that is not ours compresses a model: of the method, and of the family."""

from __future__ import annotations

import json
from pathlib import Path

from harness.checkpoints.format import original_type
from harness.compression.compressor import compressors
from harness.families.family import families


def foreign_code(method: str | None, model_type: str) -> dict[str, str]:
    """What decides what it does (see ``harness.plugins.code``), by what it is; empty for ours.

    Args:
        method: name of the method; None for a model that is not compressed.
        model_type: of the model's configuration.
    """
    codes = {f"method {method}": compressors.code(method)} if method else {}
    codes[f"family {model_type}"] = families.code(model_type)
    return {what: code for what, code in codes.items() if code}


def model_type_of(folder: Path) -> str:
    """What the ``config.json`` of a model says; of a saved one, that of the original."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return str(original_type(config))
    except (OSError, ValueError, AttributeError, RecursionError):
        return ""
