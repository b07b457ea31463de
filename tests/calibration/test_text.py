"""Which tokens a calibration draws."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from harness.assets.kinds import TextAsset
from harness.calibration.text import CHARACTERS_PER_TOKEN
from harness.calibration.text import draw_text as draw
from harness.errors import UsageError
from harness.records.spec import CalibrationSpec


class Characters:
    """A tokenizer with one token a character, and optionally a first one of its own."""

    def __init__(self, first: int | None = None) -> None:
        self.first = first
        self.read: list[str] = []

    def __call__(self, text: str, return_tensors: str) -> Any:
        assert return_tensors == "pt"
        self.read.append(text)
        ids = [ord(letter) for letter in text]
        ids = ids if self.first is None else [self.first, *ids]
        return SimpleNamespace(input_ids=torch.tensor([ids], dtype=torch.int32))


def asset(*documents: str) -> TextAsset:
    return TextAsset("stub", documents, "abc", "rev")


def spec(samples: int, length: int, seed: int = 0, sampling: str = "windows") -> CalibrationSpec:
    return CalibrationSpec(
        text="stub", samples=samples, length=length, seed=seed, sampling=sampling
    )


def counting(length: int, start: int = 0) -> str:
    """Text whose characters are all different, so that a window tells where it is from."""
    return "".join(chr(0x4E00 + start + i) for i in range(length))


def numbers(ids: torch.Tensor) -> list[list[int]]:
    return (ids - 0x4E00).tolist()


@pytest.mark.parametrize("seed", range(5))
def test_windows_are_disjoint_aligned_and_from_the_text(seed: int) -> None:
    drawn = numbers(draw(asset(counting(500)), Characters(), spec(12, 20, seed)).input_ids)
    starts = [row[0] for row in drawn]
    assert [row == list(range(row[0], row[0] + 20)) for row in drawn] == [True] * 12
    assert len(set(starts)) == 12
    assert all(start % 20 == 0 and start + 20 <= 500 for start in starts)


def test_every_window_is_taken_when_all_are_asked() -> None:
    drawn = numbers(draw(asset(counting(105)), Characters(), spec(10, 10)).input_ids)
    assert sorted(row[0] for row in drawn) == list(range(0, 100, 10))


@pytest.mark.parametrize("sampling", ["windows", "documents"])
def test_the_seed_decides(sampling: str) -> None:
    text = asset(*(counting(60, 100 * i) for i in range(20)))

    def ids(seed: int) -> torch.Tensor:
        return draw(text, Characters(), spec(8, 10, seed, sampling)).input_ids

    assert torch.equal(ids(0), ids(0))
    assert not torch.equal(ids(0), ids(1))
    state = random.getstate()
    ids(3)
    assert random.getstate() == state


def test_documents_are_joined_by_blank_lines() -> None:
    tokenizer = Characters()
    draw(asset("abc", "de"), tokenizer, spec(1, 7))
    assert tokenizer.read == ["abc\n\nde"]


def test_a_short_text_is_refused_with_its_figures() -> None:
    with pytest.raises(UsageError, match=r"99 tokens, 10 x 10 = 100"):
        draw(asset(counting(99)), Characters(), spec(10, 10))
    with pytest.raises(UsageError, match=r"0 tokens, 1 x 2 = 2"):
        draw(asset(""), Characters(), spec(1, 2))


def test_windows_that_do_not_line_up_do_not_count() -> None:
    with pytest.raises(UsageError, match="3 x 34 = 102"):
        draw(asset(counting(101)), Characters(), spec(3, 34))


def test_of_a_large_corpus_only_a_stretch_is_tokenised() -> None:
    document = 200
    text = asset(*(counting(document, document * i) for i in range(60)))
    wanted = 2 * 5
    starts = set()
    for seed in range(8):
        tokenizer = Characters()
        calibration = draw(text, tokenizer, spec(2, 5, seed))
        assert wanted * CHARACTERS_PER_TOKEN <= len(tokenizer.read[0])
        assert len(tokenizer.read[0]) <= wanted * CHARACTERS_PER_TOKEN + document + 20
        assert calibration.input_ids.shape == (2, 5)
        starts.add(tokenizer.read[0][0])
    assert len(starts) > 4


def test_facts_and_mask_describe_what_was_drawn() -> None:
    calibration = draw(asset(counting(100)), Characters(), spec(3, 10))
    assert calibration.input_ids.dtype == torch.int64
    assert calibration.attention_mask.shape == (3, 10)
    assert bool(calibration.attention_mask.all())
    assert calibration.facts.tokens == 30
    assert calibration.facts.reference == "stub"
    assert calibration.facts.fingerprint == "abc"
    assert calibration.facts.revision == "rev"


def published_protocol(
    documents: list[list[int]], samples: int, length: int, seed: int
) -> list[list[int]]:
    """The C4 loader as the papers' code has it."""
    random.seed(seed)
    rows = []
    for _ in range(samples):
        while True:
            ids = documents[random.randint(0, len(documents) - 1)]
            if len(ids) > length:
                break
        start = random.randint(0, len(ids) - length - 1)
        rows.append(ids[start : start + length])
    return rows


@pytest.mark.parametrize("first", [None, 2])
@pytest.mark.parametrize("seed", [0, 1, 7])
def test_document_sampling_is_the_published_protocol(seed: int, first: int | None) -> None:
    lengths = [5, 40, 12, 100, 30, 31, 29, 64, 200, 3]
    texts = [counting(length, 300 * i) for i, length in enumerate(lengths)]
    tokenizer = Characters(first)
    tokenised = [tokenizer(text, return_tensors="pt").input_ids[0].tolist() for text in texts]
    state = random.getstate()
    try:
        wanted = published_protocol(tokenised, 16, 30, seed)
    finally:
        random.setstate(state)
    found = draw(asset(*texts), tokenizer, spec(16, 30, seed, "documents"))
    assert found.input_ids.tolist() == wanted


def test_a_document_of_exactly_the_length_is_not_long_enough() -> None:
    with pytest.raises(UsageError, match="more than 30 tokens"):
        draw(asset(counting(30), counting(10)), Characters(), spec(1, 30, 0, "documents"))
    found = draw(asset(counting(31), counting(30)), Characters(), spec(4, 30, 0, "documents"))
    assert all(row == list(range(30)) for row in numbers(found.input_ids))


def test_one_long_document_among_many_is_found() -> None:
    texts = [counting(3)] * 400 + [counting(50)]
    found = draw(asset(*texts), Characters(), spec(2, 30, 0, "documents"))
    assert found.input_ids.shape == (2, 30)
