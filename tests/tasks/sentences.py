"""Texts of a few words, which the tokenizer of the tests of tasks knows."""

from __future__ import annotations

import random

CONTEXT = 128  # tokens
WORDS = "the a cat dog bird tree house river sat ran flew on under over quick slow red blue"


def sentence(seed: int, words: int) -> str:
    return " ".join(random.Random(seed).choices(WORDS.split(), k=words))
