from __future__ import annotations

import hashlib
import json
from collections import Counter

import pytest

from harness.datasets import mini_scienceqa, mini_textvqa
from harness.datasets.deterministic import SPLITS, seeded_random, split_of
from harness.datasets.drawing import PAPERS, blank, draw_word

FIELDS = {
    "image",
    "question",
    "choices",
    "answer",
    "hint",
    "task",
    "grade",
    "subject",
    "topic",
    "category",
    "skill",
    "lecture",
    "solution",
}


def facts(row):
    """What a question is about, read off the finished row, whatever the order of its parts."""
    picture = row["image"].tobytes() if row["image"] else b""
    told = tuple(sorted(row["hint"].split(". ")))
    return row["question"], told, tuple(sorted(row["choices"])), picture


@pytest.fixture(scope="module")
def science():
    return {split: [mini_scienceqa.question(split, i) for i in range(1000)] for split in SPLITS}


@pytest.fixture(scope="module")
def reading():
    return {split: [mini_textvqa.question(split, i) for i in range(500)] for split in SPLITS}


def test_the_split_follows_from_the_content_alone():
    shares = Counter(split_of(f"content {i}") for i in range(5000))
    assert shares["test"] == pytest.approx(500, rel=0.15)
    assert shares["validation"] == pytest.approx(500, rel=0.15)
    assert split_of("KOLA") == split_of("KOLA")


def test_no_draft_of_another_split_is_ever_asked(science, monkeypatch):
    asked = []
    monkeypatch.setattr(
        mini_scienceqa, "split_of", lambda content: asked.append(content) or split_of(content)
    )
    for split in SPLITS:
        for index in range(100):
            asked.clear()
            mini_scienceqa.question(split, index)
            assert split_of(asked[-1]) == split
            assert all(split_of(content) != split for content in asked[:-1])


def test_what_is_tested_on_never_comes_up_in_training(science):
    known = {facts(row) for row in science["train"]}
    assert known.isdisjoint(facts(row) for row in science["test"])
    assert known.isdisjoint(facts(row) for row in science["validation"])


@pytest.mark.parametrize("skill", mini_scienceqa.SKILLS, ids=lambda skill: skill.draft.__name__)
def test_drafts_with_equal_questions_have_equal_facts(skill):
    """Were they different, one and the same question could fall into two splits."""
    seen = {}
    for index in range(4000):
        rng = seeded_random("facts", index)
        grade = rng.randint(1, 12)
        draft = skill.draft(rng, grade)
        picture = draft.paint().tobytes() if draft.paint else b""
        told = tuple(sorted(draft.hint.split(". ")))
        key = (draft.question, tuple(sorted(draft.choices)), told, picture)
        assert seen.setdefault(key, draft.facts) == draft.facts


def test_words_of_the_test_occur_in_no_training_picture(reading):
    words = {
        split: {word for row in rows for word in row["ocr_tokens"]}
        for split, rows in reading.items()
    }
    assert words["train"].isdisjoint(words["test"])
    assert words["train"].isdisjoint(words["validation"])
    assert all(split_of(word) == split for split, found in words.items() for word in found)


@pytest.mark.parametrize("module", [mini_scienceqa, mini_textvqa])
def test_a_question_is_the_same_whenever_it_is_asked(module):
    first, again = module.question("test", 7), module.question("test", 7)
    assert first.pop("image") == again.pop("image")
    assert first == again


def test_science_questions_have_the_schema_of_scienceqa(science):
    for row in science["test"]:
        assert set(row) == FIELDS
        assert row["choices"][row["answer"]] in row["choices"]
        assert len(set(row["choices"])) == len(row["choices"]) in {2, 3, 4}
        assert row["image"] is None or (row["image"].size, row["image"].mode) == ((64, 64), "RGB")
    assert {row["grade"] for row in science["test"]} == {f"grade{i}" for i in range(1, 13)}
    assert {row["subject"] for row in science["test"]} == {
        "natural science",
        "social science",
        "language science",
    }
    kinds = {(bool(row["hint"]), row["image"] is not None) for row in science["test"]}
    assert len(kinds) == 4


def test_letters_tell_nothing(science):
    for count in (2, 3, 4):
        rows = [row for row in science["train"] if len(row["choices"]) == count]
        for share in Counter(row["answer"] for row in rows).values():
            assert share / len(rows) == pytest.approx(1 / count, abs=0.08)


def test_text_questions_have_the_schema_of_textvqa(reading):
    for index, row in enumerate(reading["test"]):
        assert row["question_id"] == index
        assert row["image"].size == (row["image_width"], row["image_height"]) == (64, 64)
        assert len(row["answers"]) == 10
        assert set(row["answers"]) <= set(row["ocr_tokens"])


def ink(picture):
    return sum(pixel != PAPERS[0] for pixel in picture.get_flattened_data())


def test_no_word_is_cut_off_or_covered(reading):
    for row in reading["test"]:
        apart = 0
        for word in row["ocr_tokens"]:
            picture = blank()
            draw_word(picture, word, "black", (0, 20), 16)
            apart += ink(picture)
        assert ink(row["image"]) == apart


def test_the_sizes_are_those_of_the_tasks():
    assert (mini_scienceqa.SIZES["test"], mini_textvqa.SIZES["test"]) == (1000, 500)


def amounts(row):
    return {choice: int(choice.split(": ")[1].split()[0]) for choice in row["choices"]}


@pytest.mark.parametrize(
    ("skill", "field", "word"),
    [("Compare masses", "question", "heaviest"), ("Apply a rule", "hint", "most")],
)
def test_the_right_amount_follows_from_what_is_asked(science, skill, field, word):
    rows = [row for row in science["test"] if row["skill"] == skill]
    assert rows
    for row in rows:
        told = amounts(row)
        best = max if word in row[field] else min
        assert told[row["choices"][row["answer"]]] == best(told.values())
        assert len(set(told.values())) == len(told)


def test_the_right_letter_is_first_or_last_in_the_alphabet(science):
    rows = [row for row in science["test"] if row["skill"] == "Order letters"]
    assert rows
    for row in rows:
        best = min if "first" in row["question"] else max
        assert row["choices"][row["answer"]] == best(row["choices"])


def test_pictures_show_what_the_answer_says(science):
    for row in science["test"]:
        right = row["choices"][row["answer"]]
        if row["skill"] == "Count shapes":
            assert islands(row["image"]) == ("one", "two", "three", "four").index(right) + 1
        if row["skill"] == "Read a map":
            house, town = centres(row["image"])
            (hx, hy), (tx, ty) = house, town
            across, down = tx - hx, ty - hy
            direction = (
                ("east" if across > 0 else "west")
                if abs(across) > abs(down)
                else ("south" if down > 0 else "north")
            )
            assert direction == right


def coloured(picture):
    pixels = picture.load()
    paper = pixels[0, 0]
    return {(x, y): pixels[x, y] for x in range(64) for y in range(64) if pixels[x, y] != paper}


def islands(picture):
    left, found = set(coloured(picture)), 0
    while left:
        found += 1
        border = [left.pop()]
        while border:
            x, y = border.pop()
            near = {(x + i, y + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            border += near
    return found


def centres(picture):
    """Middle of the black house and of the coloured town."""
    spots = coloured(picture)
    house = [at for at, colour in spots.items() if max(colour) < 40]
    town = [at for at in spots if at not in house]
    return [
        tuple(sum(axis) / len(spot) for axis in zip(*spot, strict=True)) for spot in (house, town)
    ]


@pytest.mark.parametrize(
    ("fixture", "expected"),
    [
        ("science", "9a8365128b47713cb1c755ac4e8b499f6f4ea278aeeb8180a8097e4f2f1a129c"),
        ("reading", "22034cb00585e07fe88570af29eb487084d5b61d4e1a996ee7c4c75e82b67270"),
    ],
)
def test_the_questions_are_the_same_to_the_last_pixel(request, fixture, expected):
    """Records and trained weights are only worth what these questions are."""
    content = hashlib.sha256()
    for split, rows in request.getfixturevalue(fixture).items():
        for row in rows:
            fields = {name: value for name, value in row.items() if name != "image"}
            content.update(json.dumps([split, fields], sort_keys=True).encode())
            content.update(row["image"].tobytes() if row["image"] else b"")
    assert content.hexdigest() == expected
