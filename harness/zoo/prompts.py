"""The questions as the tasks ask them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.datasets import easy_vqa
from harness.models.prompt import Prompt

LETTERS = "ABCDE"
LETTER = "Answer with the option's letter from the given choices directly."
SHORT = "Answer the question using a single word or phrase."


def of_scienceqa(row: Mapping[str, Any]) -> Prompt:
    """A row in the schema of ScienceQA."""
    lines = [f"Context: {row['hint']}"] if row["hint"] else []
    lines.append(row["question"])
    lines += [f"{LETTERS[i]}. {choice}" for i, choice in enumerate(row["choices"])]
    lines.append(LETTER)
    images = (row["image"],) if row["image"] else ()
    return Prompt("\n".join(lines), images, LETTERS[row["answer"]])


def of_textvqa(row: Mapping[str, Any]) -> Prompt:
    """A row in the schema of TextVQA."""
    return Prompt(f"{row['question'].capitalize()}\n{SHORT}", (row["image"],), row["answers"][0])


def of_easy_vqa(row: easy_vqa.Row) -> Prompt:
    """A question of easy-VQA."""
    return Prompt(f"{row.question}\n{SHORT}", (row.image,), row.answer)
