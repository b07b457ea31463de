"""What mini-scienceqa asks about pictures: counting shapes and reading a map."""

from __future__ import annotations

from random import Random

from PIL.Image import Image

from harness.datasets.drawing import COLOURS, SHAPES, SIDE, blank, draw_shape
from harness.datasets.text_skills import Draft, choice_count

_CELL = SIDE // 3
NUMBERS = ("one", "two", "three", "four")
DIRECTIONS = {"north": (0, -1), "east": (1, 0), "south": (0, 1), "west": (-1, 0)}


def counting(rng: Random, grade: int) -> Draft:
    """Count shapes of one colour; there are as many choices as there may be shapes."""
    numbers = NUMBERS[: choice_count(grade)]
    correct = rng.choice(numbers)
    colour = rng.choice(sorted(COLOURS))
    cells = sorted(rng.sample(range(9), NUMBERS.index(correct) + 1))
    placed = [(cell, rng.choice(SHAPES)) for cell in cells]
    paper = rng.randrange(3)

    def paint() -> Image:
        picture = blank(paper)
        for cell, shape in placed:
            centre = (_CELL * (cell % 3) + _CELL // 2, _CELL * (cell // 3) + _CELL // 2)
            draw_shape(picture, shape, colour, centre, 7)
        return picture

    return Draft(
        question="How many shapes are there?",
        choices=numbers,
        correct=correct,
        facts=f"counting {colour} {placed} {paper}",
        solution=f"There are {len(placed)}.",
        paint=paint,
        ordered=True,
    )


def map_reading(rng: Random, grade: int) -> Draft:
    """Say in which direction a town lies from the house; a hint from grade 7."""
    directions = tuple(DIRECTIONS)[: choice_count(grade)]
    correct = rng.choice(directions)
    colour = rng.choice([c for c in sorted(COLOURS) if c != "black"])
    house = (rng.randint(28, 36), rng.randint(28, 36))
    distance = rng.randint(17, 22)

    def paint() -> Image:
        picture = blank(1)
        draw_shape(picture, "square", "black", house, 4)
        x, y = DIRECTIONS[correct]
        draw_shape(picture, "circle", colour, (house[0] + x * distance, house[1] + y * distance), 5)
        return picture

    return Draft(
        question="Where is the town from the house?",
        choices=directions,
        correct=correct,
        facts=f"finding the way {colour} {house} {correct} {distance}",
        solution=f"On the map, north is up: the town lies {correct}.",
        hint="North is at the top of the map." if grade >= 7 else "",
        paint=paint,
        ordered=True,
    )
