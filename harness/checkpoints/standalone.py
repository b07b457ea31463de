"""The code that a saved folder brings along, so that transformers alone can open it.

It is this package's own code for layers, module after module in one file: nothing is written
twice, and nothing of it is run where harness is installed and imported.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.metadata import version

MODULE = "modeling_harness"
FILE = f"{MODULE}.py"
AUTO_MAP = {
    name: f"{MODULE}.{name}"
    for name in (
        "AutoConfig",
        "AutoModel",
        "AutoModelForCausalLM",
        "AutoModelForImageTextToText",
        "AutoModelForSequenceClassification",
    )
}
"""What ``config.json`` says of it."""
_PARTS = (
    "harness.errors",
    "harness.layers.roles",
    "harness.layers.weights",
    "harness.layers.factors",
    "harness.layers.fused",
    "harness.layers.pruned",
    "harness.layers.shapes",
    "harness.layers.install",
    "harness.checkpoints.standalone_reader",
)
"""Each imports of harness only what comes before it."""
_HEAD = '''# Copyright the authors of harness. Licensed under the Apache License, Version 2.0.
"""Layers of a compressed model, for transformers without the package harness.

Written by harness {version} from its own modules, whose names stand above their code.
"""

from __future__ import annotations

{imports}
'''


@cache
def standalone_source() -> str:
    """A module of Python that needs torch and transformers alone."""
    imports: set[str] = set()
    bodies = []
    for name in _PARTS:
        text = inspect.getsource(import_module(name))
        body = text.splitlines()
        for node in reversed(ast.parse(text).body):
            if _is_docstring(node) or isinstance(node, ast.Import | ast.ImportFrom):
                del body[node.lineno - 1 : node.end_lineno]
                imports.update(_foreign(node))
        bodies.append(f"# {name}\n\n" + "\n".join(body).strip())
    head = _HEAD.format(version=version("harness"), imports="\n".join(sorted(imports)))
    return "\n\n\n".join([head.rstrip(), *bodies, "register()"]) + "\n"


def _is_docstring(node: ast.stmt) -> bool:
    """Whether it is a module's: a string before any definition."""
    return node.lineno == 1 and isinstance(node, ast.Expr)


def _foreign(node: ast.stmt) -> Iterator[str]:
    """What ``node`` imports of others, a line a name."""
    if isinstance(node, ast.Import):
        yield from (ast.unparse(ast.Import([alias])) for alias in node.names)
    if isinstance(node, ast.ImportFrom) and not _is_ours(node.module):
        yield from (
            ast.unparse(ast.ImportFrom(node.module, [alias], node.level)) for alias in node.names
        )


def _is_ours(module: str | None) -> bool:
    return module == "__future__" or (module or "").partition(".")[0] == "harness"
