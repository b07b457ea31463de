"""Answers in a canonical form, as the VQA evaluation server compares them.

The rules are those of the answer processor that TextVQA's challenge server applies (Singh et al.,
Towards VQA Models That Can Read, https://arxiv.org/abs/1904.08920), which descends from VQA's
evaluation code (Antol et al., https://arxiv.org/abs/1505.00468). Its oddities are part of the
score and are kept: commas and question marks vanish, ``'s`` stands apart, other punctuation
becomes a space or, where one occurrence touches a space, vanishes; of the full stops before
anything but a digit, the first 32 vanish.
"""

from __future__ import annotations

import re

from harness.questions.contractions import CONTRACTIONS

_PUNCTUATION = ';/[]"{}()=+\\_-><@`!'
_FULL_STOP = re.compile(r"\.(?!\d)")
_FULL_STOPS_AT_MOST = 32
_ARTICLES = {"a", "an", "the"}
_NUMBERS = {
    "none": "0",
    "zero": "0",
    "one": "1",
    "two": "2",
    "three": "3",
    "four": "4",
    "five": "5",
    "six": "6",
    "seven": "7",
    "eight": "8",
    "nine": "9",
    "ten": "10",
}


def normalized_answer(answer: str) -> str:
    """``answer`` in lower case, without articles and punctuation, small numbers as digits."""
    text = answer.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    text = _without_punctuation(text.replace("\n", " ").replace("\t", " ").strip())
    words = (_NUMBERS.get(word, word) for word in text.lower().split())
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def _without_punctuation(text: str) -> str:
    result = text
    for mark in _PUNCTUATION:
        beside_space = f"{mark} " in text or f" {mark}" in text
        result = result.replace(mark, "" if beside_space else " ")
    return _FULL_STOP.sub("", result, count=_FULL_STOPS_AT_MOST)
