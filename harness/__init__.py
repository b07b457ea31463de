"""Training-free low-rank compression of language models, honestly measured."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from harness.checkpoints import registration
from harness.support.offline import go_offline, is_offline

if TYPE_CHECKING:
    from harness.api import compress, evaluate, load, load_model, save
    from harness.evaluation.task import Conditions
    from harness.experiments.runner import Request, run
    from harness.records.spec import CalibrationSpec

_HOMES = {
    "CalibrationSpec": "harness.records.spec",
    "Conditions": "harness.evaluation.task",
    "Request": "harness.experiments.runner",
    "compress": "harness.api",
    "evaluate": "harness.api",
    "load": "harness.api",
    "load_model": "harness.api",
    "run": "harness.experiments.runner",
    "save": "harness.api",
}

__all__ = [
    "CalibrationSpec", "Conditions", "Request", "compress", "evaluate", "load", "load_model", "run",
    "save",
]  # fmt: skip


if is_offline():
    # Before any library reads its own variables.
    go_offline()


def __getattr__(name: str) -> Any:
    """Import on first use, so that ``import harness`` stays light."""
    if name not in _HOMES:
        raise AttributeError(f"module 'harness' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


registration.register()
