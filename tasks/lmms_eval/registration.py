"""The entry point by which lmms-eval finds the model ``harness``."""

from __future__ import annotations

from typing import Any


def manifest() -> Any:
    """Where the class is, for lmms-eval's registry."""
    from lmms_eval.models.registry_v2 import ModelManifest  # noqa: PLC0415

    path = "tasks.lmms_eval.saved_model.SavedModel"
    return ModelManifest("harness", simple_class_path=path)
