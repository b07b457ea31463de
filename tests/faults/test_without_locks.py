"""Without ``flock`` a sweep refuses rather than do cells twice; a run needs none."""

from __future__ import annotations

import errno

import pytest

from tests.faults.commands import commands
from tests.helpers.faults import without_locks


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS])
def test_nothing_is_lost_or_done_twice(model_folder, texts, cli, tmp_path, code):
    known = commands(model_folder("opt"), texts)
    folder = tmp_path / "work"
    folder.mkdir()
    with without_locks(code):
        refused = cli(*known["sweep"].arguments(folder))
        assert (refused.code, refused.err.count("\n")) == (3, 1)
        assert f"cannot lock {folder}" in refused.err
        assert known["sweep"].state(folder) == {}
        assert cli(*known["run"].arguments(folder)).code == 0
        done = known["run"].state(folder)
        assert cli(*known["leaderboard"].arguments(folder)).code == 0
        assert cli(*known["sweep"].arguments(folder)).code == 3
    assert known["run"].state(folder) == done
    assert len(done) == 2
