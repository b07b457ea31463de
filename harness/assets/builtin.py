"""Small trained models of our own, shipped with the package."""

from __future__ import annotations

import json
from pathlib import Path

from harness.errors import unknown

SCHEME = "builtin:"
WEIGHTS = Path(__file__).parents[1] / "zoo" / "weights"


def builtin_models() -> tuple[str, ...]:
    """Their references, e.g. ``builtin:opt-tiny``."""
    return tuple(sorted(SCHEME + config.parent.name for config in WEIGHTS.glob("*/config.json")))


def described_model(folder: Path) -> str:
    """Its architecture and size."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    decoder = config.get("text_config") or config
    layers, width = decoder["num_hidden_layers"], decoder["hidden_size"]
    return f"{config['model_type']}, {layers} layers of width {width}, trained for tests"


def builtin_folder(reference: str) -> Path:
    """Folder of the model ``builtin:NAME``.

    Raises:
        UsageError: there is none of that name; names those there are.
    """
    if reference not in builtin_models():
        raise unknown("model", reference, builtin_models())
    return WEIGHTS / reference.removeprefix(SCHEME)
