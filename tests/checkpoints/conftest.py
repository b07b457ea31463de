from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import harness


@pytest.fixture(scope="session")
def saved_once(one_thread, tmp_path_factory) -> Path:
    """A saved model in several shards; not to be changed."""
    from saved_models import Case, compressed

    subject = compressed(Case("opt", "float32", "latentllm", "block-identity"))
    folder = tmp_path_factory.mktemp("once") / "small"
    return harness.save(subject, folder, shard_bytes=30_000)


@pytest.fixture
def saved(saved_once, tmp_path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(saved_once, tmp_path / "small"))


@pytest.fixture
def cli(capsys) -> Callable[..., tuple[int, str, str]]:
    """``cli("run", ...)`` in this process: exit code, output, errors."""
    from harness.cli.main import main

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return call
