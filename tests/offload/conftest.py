from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def folder(one_thread, tmp_path_factory) -> Callable[[str], Path]:
    """``folder(family)``: a sharded model on disk; not to be changed."""
    from tests.offload.offloaded import write

    return functools.cache(lambda family: write(family, tmp_path_factory.mktemp("dense") / family))
