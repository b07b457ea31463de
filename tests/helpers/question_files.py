"""Questions and pictures made on the spot, in the forms that people keep them in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import datasets
from PIL import Image

from harness.models.generation import Written

RED, BLUE = (200, 10, 10), (10, 10, 200)


def science(**changes: object) -> dict[str, object]:
    """A row of ScienceQA."""
    return {
        "image": None,
        "question": "Which is red?",
        "choices": ["an apple", "the sea"],
        "answer": 0,
        "hint": "",
        "task": "closed choice",
        "grade": "grade3",
        "subject": "natural science",
        "topic": "colour",
        "category": "colour",
        "skill": "name colours",
        "lecture": "",
        "solution": "",
        **changes,
    }


def reading(**changes: object) -> dict[str, object]:
    """A row of TextVQA."""
    return {
        "question_id": 7,
        "image": "picture.png",
        "question": "what does the SIGN say?",
        "answers": ["stop"] * 7 + ["Stop sign"] * 3,
        "ocr_tokens": ["STOP", "sign"],
        **changes,
    }


def save_picture(path: Path, colour: tuple[int, int, int] = RED) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 4), colour).save(path)
    return path


def save_lines(path: Path, rows: Sequence[object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def table(folder: Path, rows: Sequence[dict[str, object]]) -> datasets.Dataset:
    """As the hub keeps them: paths of images, relative to ``folder``, become their bytes."""
    with_bytes = [
        {**row, "image": row["image"] and {"bytes": (folder / str(row["image"])).read_bytes()}}
        for row in rows
    ]
    columns = {name: [row[name] for row in with_bytes] for name in rows[0] if name != "image"}
    images = [row["image"] and {**row["image"], "path": None} for row in with_bytes]
    plain = datasets.Dataset.from_dict(columns)
    return plain.add_column("image", images).cast_column("image", datasets.Image())


def answering(*answers: str):
    """A fake of ``generation.write`` that says ``answers`` in turn and keeps the prompts."""
    left = list(answers)
    seen: list[list] = []

    def answer(subject, prompts, max_new_tokens, stop=()):
        assert prompts
        seen.append(list(prompts))
        return tuple(Written(left.pop(0), ended=True) for _ in prompts)

    answer.seen = seen
    return answer


def seeing() -> SimpleNamespace:
    """Something that is taken for a model that can see."""
    return SimpleNamespace(processor=object(), asset=SimpleNamespace(reference="fake"))
