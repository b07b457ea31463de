"""What resolving a reference yields."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Purpose = Literal["calibration", "evaluation"]


@dataclass(frozen=True)
class ModelAsset:
    """A model folder that ``from_pretrained`` opens.

    ``fingerprint`` changes whenever the content does: the hub commit, or a SHA-256.
    ``notes`` are caveats a record must repeat, e.g. that the weights were dequantised;
    ``precision`` the format of fewer bits that they were rounded to before, as far as is known.
    """

    reference: str
    folder: Path
    fingerprint: str
    notes: tuple[str, ...] = ()
    precision: str | None = None


@dataclass(frozen=True)
class TextAsset:
    """Documents in their original order, of the part that serves one purpose.

    ``fingerprint`` is the SHA-256 of those documents; ``revision`` the hub commit or
    package version they come from, None for local files. ``uncut`` is the fingerprint of the same
    file read as one document, None where it is read in one way only.
    """

    reference: str
    documents: tuple[str, ...]
    fingerprint: str
    revision: str | None = None
    uncut: str | None = None
