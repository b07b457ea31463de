"""What a plugin is for: the first line of its module, read without importing anything."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

from harness.plugins.shadowing import module_inside


def purpose(module: str) -> str:
    """The first line of the documentation of ``module``; empty where there is none to read."""
    try:
        spec = module_inside(find_spec(module.partition(".")[0]), module)
        if spec is None or spec.origin is None:
            return ""
        text = ast.get_docstring(ast.parse(Path(spec.origin).read_bytes()))
    except (OSError, SyntaxError, ValueError):  # a broken plugin is still listed
        return ""
    return text.splitlines()[0].rstrip(".") if text else ""
