"""Which files are a user's own: those that no version of Python or of a package vouches for."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import datasets

from harness.assets.cache import cache_root

PACKAGES = ("harness", "compressors", "tasks", "leaderboards", "lm_eval", "lmms_eval")
"""Known by version or commit even where they are installed from a checkout."""
INSTALLED = frozenset({"site-packages", "dist-packages"})
SYSTEM = ("/proc", "/sys", "/dev", "/etc", "/usr/share", "/usr/lib")


def is_local(name: str) -> bool:
    """Whether ``name`` is the absolute path of such a file."""
    # Unlike its namesake of Path, this raises nothing.
    if not name.startswith(os.sep) or not os.path.isfile(name):  # noqa: PTH113
        return False
    path = Path(name).resolve()
    folders = _elsewhere() + _caches()
    return INSTALLED.isdisjoint(path.parts) and not any(map(path.is_relative_to, folders))


@cache
def _elsewhere() -> tuple[Path, ...]:
    return tuple(path.resolve() for path in _homes_of_versions())


def _homes_of_versions() -> Iterator[Path]:
    for key in ("stdlib", "platstdlib", "purelib", "platlib"):
        yield Path(sysconfig.get_path(key))
    for package in PACKAGES:
        spec = find_spec(package)
        yield from map(Path, (spec.submodule_search_locations or ()) if spec else ())
    yield from map(Path, SYSTEM)


def _caches() -> tuple[Path, ...]:
    config = datasets.config
    folders = (config.HF_CACHE_HOME, config.HF_DATASETS_CACHE, cache_root())
    return tuple(Path(folder).expanduser().resolve() for folder in folders)
