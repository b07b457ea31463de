"""What docstrings say of a dataclass's fields."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from harness.plugins.docstrings import attributes, explanation


@dataclass
class Base:
    """A base.

    Attributes:
        size: how big it is,
            in ``bytes``.
        left, right: both sides.

    More text: not an attribute.
    """

    size: int = 1
    left: int = 2
    right: int = 3


@dataclass
class Child(Base):
    """A child.

    Attributes:
        right (int): another side.
        own: of its own: with a colon.
    """

    own: int = 4
    silent: int = 5


@dataclass
class Silent(Child):
    pass


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("size", "how big it is, in bytes"),
        ("left", "both sides"),
        ("right", "another side"),
        ("own", "of its own: with a colon"),
        ("silent", ""),
        ("absent", ""),
    ],
)
@pytest.mark.parametrize("owner", [Child, Silent])
def test_the_nearest_class_explains(owner, name, text):
    assert explanation(owner, name) == text


@pytest.mark.parametrize(
    "docstring", [None, "", "One line.", "Attributes:", "A.\n\nReturns:\n  x: y"]
)
def test_nothing_is_said(docstring):
    assert attributes(docstring) == {}


def test_only_the_section_counts():
    assert attributes(Base.__doc__).keys() == {"size", "left", "right"}
