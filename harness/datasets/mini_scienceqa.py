"""mini-scienceqa: multiple-choice questions in the schema of ScienceQA, made by five skills.

Natural science compares weights and counts the shapes of a picture; social science finds the
winner by a rule in the hint and reads a map, in higher grades with a hint; language science knows
the alphabet, with neither hint nor picture. Higher grades have more choices. Which split a
question belongs to is decided by its content (picture, numbers, letters, answer, whatever their
order), so that nothing of the test can come up in training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from harness.datasets.deterministic import Split, seeded_random, split_of
from harness.datasets.picture_skills import counting, map_reading
from harness.datasets.text_skills import Draft, alphabet, contest, weights

SIZES: dict[Split, int] = {"train": 1_000_000, "validation": 500, "test": 1000}
GRADES = 12


@dataclass(frozen=True)
class Skill:
    """A kind of question and where ScienceQA's taxonomy would put it."""

    draft: Callable[[Random, int], Draft]
    subject: str
    topic: str
    category: str
    skill: str
    lecture: str


_NATURAL, _SOCIAL, _LANGUAGE = "natural science", "social science", "language science"
SKILLS = (
    Skill(
        weights, _NATURAL, "physics", "Mass", "Compare masses", "The larger number is the heavier."
    ),
    Skill(counting, _NATURAL, "biology", "Counting", "Count shapes", "Count each shape once."),
    Skill(contest, _SOCIAL, "civics", "Rules", "Apply a rule", "A rule says what decides."),
    Skill(map_reading, _SOCIAL, "geography", "Maps", "Read a map", "North is at the top of a map."),
    Skill(
        alphabet,
        _LANGUAGE,
        "reference-skills",
        "Alphabetical order",
        "Order letters",
        "The alphabet goes from A to Z.",
    ),
)


def question(split: Split, index: int) -> dict[str, Any]:
    """Question ``index`` of ``split``; any index from 0 will do."""
    attempt = 0
    while True:
        rng = seeded_random("mini-scienceqa", split, index, attempt)
        skill = rng.choice(SKILLS)
        grade = rng.randint(1, GRADES)
        draft = skill.draft(rng, grade)
        if split_of(draft.facts) == split:
            return _row(rng, skill, grade, draft)
        attempt += 1


def _row(rng: Random, skill: Skill, grade: int, draft: Draft) -> dict[str, Any]:
    choices = list(draft.choices)
    if not draft.ordered:
        rng.shuffle(choices)
    return {
        "image": draft.paint() if draft.paint else None,
        "question": draft.question,
        "choices": choices,
        "answer": choices.index(draft.correct),
        "hint": draft.hint,
        "task": "closed choice",
        "grade": f"grade{grade}",
        "subject": skill.subject,
        "topic": skill.topic,
        "category": skill.category,
        "skill": skill.skill,
        "lecture": skill.lecture,
        "solution": draft.solution,
    }
