"""Text that others chose, made harmless for terminals and logs."""

from __future__ import annotations

import json
import re

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""Commands to a terminal, what turns text round, and what cannot be seen; not tab and line feed."""


def escaped(text: str) -> str:
    r"""``text`` with all that a terminal would obey or hide written as JSON does, ``\u001b``.

    JSON stays the JSON that it was.
    """
    return _HIDDEN.sub(lambda match: json.dumps(match[0])[1:-1], text)


def one_line(text: str) -> str:
    """``escaped``, line breaks and tabs included."""
    return escaped(text).replace("\n", r"\n").replace("\t", r"\t")
