"""Cutting one file into a part that calibrates and a part that evaluates."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.assets.kinds import Purpose

CALIBRATION_SHARE = 0.7

_TAGGED = re.compile(r"^<doc [^\n]*>\n(.*?)^</doc>$", re.DOTALL | re.MULTILINE)


def documents_of(text: str, *, tagged: bool) -> list[str]:
    """The documents of an excerpt, each once.

    Args:
        text: the whole file.
        tagged: documents stand between ``<doc ...>`` and ``</doc>``, the title on their first
            line; those that are nothing but a title are left out. Otherwise one on each line.
    """
    if tagged:
        documents = [body.strip() for body in _TAGGED.findall(text)]
        documents = [document for document in documents if "\n" in document]
    else:
        documents = [line.strip() for line in text.split("\n")]
    return [document for document in dict.fromkeys(documents) if document]


def part(documents: Sequence[str], purpose: Purpose) -> tuple[str, ...]:
    """The documents that serve ``purpose``: whole ones, the parts disjoint.

    Calibration gets the documents that end within the first 70 % of all characters,
    evaluation the rest.
    """
    total = sum(map(len, documents))
    end = first_rest = 0
    for document in documents:
        end += len(document)
        if end > CALIBRATION_SHARE * total:
            break
        first_rest += 1
    chosen = documents[:first_rest] if purpose == "calibration" else documents[first_rest:]
    return tuple(chosen)
