"""Without ``flock`` every command that writes does what it does with it."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from tests.faults.commands import commands
from tests.helpers.faults import without_locks


@pytest.mark.parametrize("name", ["sweep", "compress", "fetch"])
def test_the_same_is_left_without_flock(model_folder, texts, cli, tmp_path, monkeypatch, name):
    command = commands(model_folder("opt"), texts)[name]
    left = []
    for kind in (nullcontext, without_locks):
        folder = tmp_path / kind.__name__ / "work"
        folder.parent.mkdir()
        monkeypatch.setenv("HARNESS_CACHE", str(folder))
        command.prepare(folder)
        with kind():
            assert cli(*command.arguments(folder)).code == 0
            first = command.state(folder)
            assert cli(*command.arguments(folder)).code == 0
        assert command.state(folder) == first
        left.append(first)
    assert left[0] == left[1]
    assert left[0]
