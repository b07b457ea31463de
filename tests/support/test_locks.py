"""Locks of files and folders; what dead owners leave is tested with the cells of sweeps."""

from __future__ import annotations

import errno
import os
import threading
from contextlib import nullcontext

import pytest

from harness.support.locks import flocked
from tests.helpers.faults import without_locks


@pytest.fixture(params=[0, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP], autouse=True)
def file_system(request):
    """One with ``flock``, and those without."""
    with without_locks(request.param) if request.param else nullcontext():
        yield


@pytest.mark.parametrize("kind", ["file", "absent", "folder"])
def test_a_lock_has_one_owner(kind, tmp_path):
    path = tmp_path / "thing"
    if kind == "file":
        path.write_text("kept")
    elif kind == "folder":
        path.mkdir()
    with flocked(path) as first, flocked(path, wait=False) as second:
        assert (first, second) == (True, False)
    with flocked(path, wait=False) as third:
        assert third
    assert kind != "file" or path.read_text() == "kept"


def test_who_waits_gets_it_when_the_owner_ends(tmp_path):
    order = []

    def wait():
        with flocked(tmp_path / "lock") as held:
            order.append(held)

    waiter = threading.Thread(target=wait)
    with flocked(tmp_path / "lock"):
        waiter.start()
        order.append("owner")
    waiter.join()
    assert order == ["owner", True]


def test_a_failure_inside_is_not_one_of_the_lock(tmp_path):
    with pytest.raises(BlockingIOError), flocked(tmp_path / "lock"):
        raise BlockingIOError
    with flocked(tmp_path / "lock", wait=False) as held:
        assert held


def test_other_troubles_are_no_want_of_locks(tmp_path):
    error = pytest.raises(OSError, match=os.strerror(errno.EIO))
    with without_locks(errno.EIO), error, flocked(tmp_path / "lock"):
        pytest.fail("not held")
