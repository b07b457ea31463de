"""Names that others chose inside HTML and inside scripts."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from typing import Any
from urllib.parse import quote

from harness.support.markdown import visible

_IN_SCRIPT = {"<": r"\u003c", ">": r"\u003e", "&": r"\u0026"}


def text(name: str) -> str:
    """``name`` as text, also within a quoted attribute."""
    return html.escape(visible(name))


def data(value: Any, **attributes: str) -> str:
    """A script element that holds JSON; nothing inside can end it or open a comment."""
    content = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for char, escaped in _IN_SCRIPT.items():
        content = content.replace(char, escaped)
    more = "".join(f' {name}="{text(given)}"' for name, given in attributes.items())
    return f'<script type="application/json"{more}>{content}</script>'


def source_hash(content: str) -> str:
    """``content`` of a script or style as a Content-Security-Policy names it."""
    found = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(found).decode()}'"


def link(run_ids: list[str]) -> str:
    """Address within the page of the records of some runs."""
    return "#run=" + ",".join(quote(one, safe="") for one in run_ids)
