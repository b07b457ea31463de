"""Parts of a task's data that have numbers of their own, in the order in which they stand."""

from __future__ import annotations

from collections.abc import Iterable

WHOLE = "Avg"
"""Name of the whole beside its slices."""

SCIENCEQA = ("NAT", "SOC", "LAN", "TXT", "IMG", "NO", "G1-6", "G7-12")
"""Subject, context modality and grade of a question, as ScienceQA's own evaluation reports them."""

SCIENCEQA_NOTE = (
    "In ScienceQA the subjects (NAT, SOC, LAN) partition the whole, and so do the grades "
    "(G1-6, G7-12); TXT (with a hint) and IMG (with an image) overlap, and NO has neither."
)


def position(name: str) -> tuple[int, str]:
    """Sorts names of slices: ScienceQA's in their own order, then others by alphabet."""
    return (SCIENCEQA.index(name) if name in SCIENCEQA else len(SCIENCEQA), name)


def columns(present: Iterable[str]) -> tuple[str, ...]:
    """Names in order; all of ScienceQA's where any is ``present``, so that a gap is seen."""
    names = set(present)
    if is_scienceqa(names):
        names |= set(SCIENCEQA)
    return tuple(sorted(names, key=position))


def is_scienceqa(names: Iterable[str]) -> bool:
    """Whether any of ``names`` is a slice of ScienceQA."""
    return not set(SCIENCEQA).isdisjoint(names)
