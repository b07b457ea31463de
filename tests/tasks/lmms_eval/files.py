"""Small data sets in the form of those on the hub, and lmms-eval task files that read them."""

from __future__ import annotations

import random
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import datasets
from PIL import Image

from tests.helpers.tiny_vision_models import noise

AWKWARD = (
    "A 1,000.5 km/h “Zug”",
    "it's the dog's {{ bone }}",
    "50% of 3.5?",
    "tab\there",
    "two\nlines",
    " spaced ",
    "É ß İ ﬁ 東京",
    "",
    "None",
    "isnt the one",
    "{braces} [brackets] \\n <b>",
)
MODES = ("RGB", "L", "RGBA", "P", "1", "CMYK")
SUBJECTS = ("natural science", "social science", "language science")


def picture(index: int) -> Image.Image:
    mode = MODES[index % len(MODES)]
    size = {"width": 24 + 8 * (index % 5), "height": 24 + 5 * (index % 3)}
    image = noise(index, **size)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image.convert(mode)


def science_rows(count: int, seed: int = 0) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    rows = []
    for index in range(count):
        choices = [draw.choice(AWKWARD) + str(number) for number in range(draw.randint(2, 5))]
        rows.append(
            {
                "image": picture(index) if draw.random() < 0.5 else None,
                "question": f"{draw.choice(AWKWARD)} which {index}?",
                "choices": choices,
                "answer": draw.randrange(len(choices)),
                "hint": draw.choice(("", draw.choice(AWKWARD))),
                "grade": f"grade{draw.randint(1, 12)}",
                "subject": draw.choice(SUBJECTS),
            }
        )
    return rows


def reading_rows(count: int, seed: int = 0) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    rows = []
    for index in range(count):
        words = draw.choices(ANSWERS, k=3)
        rows.append(
            {
                "image": picture(index % 7),
                "question_id": 34602 + index,
                "question": f"{draw.choice(AWKWARD)} WHAT is {index}?",
                "answers": draw.choices(words, k=10),
                "ocr_tokens": draw.choices(AWKWARD, k=draw.randrange(3)),
            }
        )
    return rows


ANSWERS = (
    "nokia",
    "Nokia.",
    "the nokia",
    "a nokia, phone",
    "two",
    "2",
    "2.50",
    "2,500",
    "$2.50!",
    "none",
    "yes/no",
    "well-known",
    "well - known",
    "dont",
    "don't",
    "it's",
    "its",
    "somebody'd",
    "i'dve",
    "Id've",
    "o'clock",
    "10 o'clock",
    '"quoted"',
    "(in brackets)",
    "a_b@c.de",
    "p.m.",
    "3 p.m",
    "new\nline",
    "tab\tbed",
    "...",
    "." * 40,
    "an",
    "",
    "東京",
    "ÉCOLE",
    "x+y=z",
    "what? why?",
    "ten thousand",
)
"""With everything that the answer processor of VQA treats specially."""


def save(rows: list[dict[str, Any]], path: Path) -> None:
    """As parquet with the images inside, which is what the hub has."""
    table = datasets.Dataset.from_list(rows)
    if "image" in rows[0]:
        features = table.features.copy()
        features["image"] = datasets.Image()
        table = datasets.Dataset.from_list(rows, features=features)
    table.to_parquet(path)


def stock(*parts: str) -> Path:
    """A file of lmms-eval's own tasks."""
    spec = find_spec("lmms_eval")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0], "tasks", *parts)


def science_task(folder: Path, data: str = "science.parquet", **more: str) -> Path:
    """lmms-eval's own ``scienceqa``, reading a file beside it."""
    return _task(folder, "local_science", stock("scienceqa", "scienceqa.yaml"), "test", data, more)


def reading_task(folder: Path, data: str = "reading.parquet", **more: str) -> Path:
    """lmms-eval's own ``textvqa_val``, reading a file beside it."""
    own = stock("textvqa", "textvqa_val.yaml")
    return _task(folder, "local_reading", own, "validation", data, more)


def _task(folder: Path, name: str, own: Path, split: str, data: str, more: dict[str, str]) -> Path:
    lines = [
        f"include: {own}",
        "dataset_path: parquet",
        "dataset_name: null",
        f"dataset_kwargs: {{data_files: {{{split}: {data}}}}}",
        *(f"{key}: {value}" for key, value in ({"task": name} | more).items()),
    ]
    path = folder / f"{(more | {'task': name} | more)['task']}.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path
