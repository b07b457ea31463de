"""Which files are a user's own: those that no version of Python or of a package vouches for."""

from __future__ import annotations

import os
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import datasets

from harness.assets.cache import cache_root
from harness.support.imported_files import has_version

LIBRARIES = ("lm_eval", "lmms_eval")
"""Known by version even where they are installed from a checkout."""
SYSTEM = ("/proc", "/sys", "/dev", "/etc", "/usr/share", "/usr/lib")


def is_local(name: str) -> bool:
    """Whether ``name`` is the absolute path of such a file."""
    # Unlike its namesake of Path, this raises nothing.
    if not name.startswith(os.sep) or not os.path.isfile(name):  # noqa: PTH113
        return False
    path = Path(name).resolve()
    folders = _elsewhere() + _caches()
    return not has_version(path) and not any(map(path.is_relative_to, folders))


@cache
def _elsewhere() -> tuple[Path, ...]:
    specs = [find_spec(library) for library in LIBRARIES]
    folders = [f for spec in specs if spec for f in spec.submodule_search_locations or ()]
    return tuple(Path(folder).resolve() for folder in (*SYSTEM, *folders))


def _caches() -> tuple[Path, ...]:
    config = datasets.config
    folders = (config.HF_CACHE_HOME, config.HF_DATASETS_CACHE, cache_root())
    return tuple(Path(folder).expanduser().resolve() for folder in folders)
