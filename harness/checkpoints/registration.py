"""Make transformers read saved models and peft adapt them, without importing either.

transformers has no entry points for model types, and importing it takes seconds that
``import harness`` must not cost. So registration waits until transformers imports the two modules
that hold its tables, or peft the one of LoRA; if they are there already, it happens at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

_TABLES = {
    "transformers.models.auto.configuration_auto": "harness.checkpoints.hf_config",
    "transformers.modeling_utils": "harness.checkpoints.hf_quantizer",
    "peft.tuners.lora": "harness.adapters.lora_on_factors",
}
"""A module of transformers or peft, and ours whose ``register()`` adds to its tables."""


class _Finder(MetaPathFinder):
    """Finds what others would, and calls ``register()`` once the module has run."""

    def __init__(self, pending: dict[str, str]) -> None:
        self.pending = pending

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        if fullname not in self.pending:
            return None
        ours = self.pending.pop(fullname)
        spec = find_spec(fullname)  # by the other finders: it is no longer pending
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            import_module(ours).register()

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def register() -> None:
    """Have the tables filled, now or as soon as their library is imported."""
    for theirs, ours in _TABLES.items():
        if theirs in sys.modules:
            import_module(ours).register()
    pending = {theirs: ours for theirs, ours in _TABLES.items() if theirs not in sys.modules}
    if pending:
        sys.meta_path.insert(0, _Finder(pending))
