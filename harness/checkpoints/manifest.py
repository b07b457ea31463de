"""``harness.json``: every file of a saved model with its size and SHA-256."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import ValidationError

from harness.assets.folders import ADAPTER, model_files
from harness.assets.hashing import file_sha256
from harness.checkpoints.format import is_layout, require_known
from harness.errors import AssetError
from harness.records.document import Document
from harness.support.hashing import FileFacts, difference, facts_of

MANIFEST = "harness.json"
CARD = "README.md"
FORMAT: Literal[1] = 1
PICKLES = frozenset({".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"})


class SavedFile(Document):
    """``FileFacts`` as they stand in the manifest."""

    bytes: int
    sha256: str


class SavedManifest(Document):
    """Files by their path in the folder, all but the model card, which people may edit."""

    format: Literal[1] = FORMAT
    files: Mapping[str, SavedFile]


def is_saved(folder: Path) -> bool:
    """Whether the model in ``folder`` is one that the harness compressed and saved."""
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(config, dict) and is_layout(config.get("quantization_config"))


def write_manifest(folder: Path) -> None:
    """List all files of ``folder``, which is complete but for this."""
    files: dict[str, SavedFile] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != CARD:
            facts = facts_of(path)
            name = path.relative_to(folder).as_posix()
            files[name] = SavedFile(bytes=facts.size, sha256=facts.sha256)
    text = SavedManifest(files=files).model_dump_json(indent=1) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def saved_files(folder: Path) -> list[str]:
    """What a whole saved model is by its manifest, that among them; paths in ``folder``.

    Raises:
        AssetError: the manifest is missing or damaged.
    """
    return [*_read(folder).files, MANIFEST]


def check_saved(folder: Path) -> None:
    """Check every file of a saved model against the manifest.

    Files are hashed once and then only when their size or times changed. Besides those listed
    there may be others, but none that decides what the model answers.

    Raises:
        UsageError: a newer harness wrote it.
        AssetError: a file is missing, changed, outside the folder, or added and of those that
            transformers reads.
    """
    manifest = _read(folder)
    for path in sorted(folder.iterdir()):
        if path.suffix in PICKLES:
            raise AssetError(
                f"{folder} holds the pickle {path.name}, which is no part of a saved model and can "
                "run code; delete it"
            )
        if path.suffix == ".safetensors" and path.name not in manifest.files:
            raise AssetError(f"{path} is no part of the saved model; move it elsewhere")
    for name, saved in manifest.files.items():
        path = _inside(folder, name)
        if not path.is_file():
            raise AssetError(f"{folder} lacks {name}; copy the saved model again")
        if instead := difference(path, FileFacts(saved.bytes, saved.sha256), file_sha256):
            raise AssetError(
                f"{path} is not as it was saved ({instead}); copy the saved model again"
            )
    for path in (*model_files(folder), folder / ADAPTER):
        if path.exists() and path.relative_to(folder).as_posix() not in manifest.files:
            raise AssetError(
                f"{folder} is not as it was saved: {path.relative_to(folder)} was added, which "
                "transformers would read; move it elsewhere"
            )


def _inside(folder: Path, name: str) -> Path:
    """The file ``name`` of the manifest, or of the hub's cache, which a link in it leads to."""
    root = folder.resolve()
    homes = (root, root.parent.parent / "blobs")
    plain = PurePosixPath(name)
    inside = not plain.is_absolute() and ".." not in plain.parts and not set(name) & {"\\", "\0"}
    if not inside or not any((root / name).resolve().is_relative_to(home) for home in homes):
        raise AssetError(
            f"{folder / MANIFEST} lists {name!r}, which is outside the folder; copy the saved "
            "model again, with its files in the place of links"
        )
    return folder / name


def _read(folder: Path) -> SavedManifest:
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text("utf-8"))
        require_known(content, FORMAT)
        return SavedManifest.model_validate(content)
    except FileNotFoundError as error:
        raise AssetError(f"{folder} lacks {MANIFEST}; copy the saved model again") from error
    except (ValueError, RecursionError, ValidationError) as error:
        raise AssetError(f"{path} is damaged; copy the saved model again") from error
