"""What files are known by, and what is said of those that are not as they were."""

from __future__ import annotations

import hashlib

import pytest

from harness.support.hashing import FileFacts, content_sha256, difference, facts_of

ABC = hashlib.sha256(b"abc").hexdigest()


@pytest.fixture
def path(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    return tmp_path / "file"


def test_a_file_is_as_its_facts_say(path):
    assert facts_of(path) == FileFacts(size=3, sha256=ABC)
    assert difference(path, facts_of(path), content_sha256) == ""


def test_what_differs_is_said(path):
    facts = facts_of(path)
    path.write_bytes(b"abd")
    assert difference(path, facts, content_sha256) == (
        f"SHA-256 {content_sha256(path)} instead of {ABC}"
    )
    assert difference(path, facts, None) == ""
    path.write_bytes(b"ab")
    assert difference(path, facts, lambda _: pytest.fail("hashed")) == "2 bytes instead of 3"
