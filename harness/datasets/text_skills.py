"""What mini-scienceqa asks that needs no picture: comparing numbers and ordering letters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from string import ascii_uppercase

from PIL.Image import Image

from harness.datasets.words import NOUNS


@dataclass(frozen=True)
class Draft:
    """A question before its choices are put in order.

    ``facts`` is everything that makes the question what it is, whatever the wording. Choices that
    are ``ordered`` stay as they are, like numbers that are counted up.
    """

    question: str
    choices: tuple[str, ...]
    correct: str
    facts: str
    solution: str
    hint: str = ""
    paint: Callable[[], Image] | None = None
    ordered: bool = False


def choice_count(grade: int) -> int:
    """Two choices in the first four grades, then three, then four."""
    return 2 + (grade - 1) // 4


def weights(rng: Random, grade: int) -> Draft:
    """Compare the weights that the choices give."""
    most = rng.random() < 0.5
    choices, best = _amounts(rng, choice_count(grade), "kg", most=most)
    superlative = "heaviest" if most else "lightest"
    return Draft(
        question=f"Which is the {superlative}?",
        choices=choices,
        correct=best,
        facts=f"weights {most} {sorted(choices)}",
        solution=f"The {superlative} is {best}.",
    )


def contest(rng: Random, grade: int) -> Draft:
    """Find the winner by the rule that the hint gives."""
    most = rng.random() < 0.5
    choices, best = _amounts(rng, choice_count(grade), "points", most=most)
    return Draft(
        question="Which team wins?",
        choices=choices,
        correct=best,
        facts=f"contest {most} {sorted(choices)}",
        solution=f"By the rule of the hint the winner is {best}.",
        hint=f"The team with the {'most' if most else 'fewest'} points wins.",
    )


def alphabet(rng: Random, grade: int) -> Draft:
    """Say which letter comes first or last in the alphabet."""
    first = rng.random() < 0.5
    letters = rng.sample(ascii_uppercase, choice_count(grade))
    correct = (min if first else max)(letters)
    return Draft(
        question=f"Which letter comes {'first' if first else 'last'} in the alphabet?",
        choices=tuple(letters),
        correct=correct,
        facts=f"alphabet {first} {sorted(letters)}",
        solution=f"In alphabetical order: {', '.join(sorted(letters))}.",
    )


def _amounts(rng: Random, count: int, unit: str, *, most: bool) -> tuple[tuple[str, ...], str]:
    """Choices such as ``fox: 3 kg`` with different numbers, and the one with the most or least."""
    numbers = rng.sample(range(1, 10), count)
    choices = tuple(
        f"{noun}: {number} {unit}"
        for noun, number in zip(rng.sample(NOUNS, count), numbers, strict=True)
    )
    return choices, choices[numbers.index((max if most else min)(numbers))]
