"""Words that mean something, and pronounceable ones that do not."""

from __future__ import annotations

from random import Random

CONSONANTS = "bcdfghjklmnprstvwz"
VOWELS = "aeiou"
NOUNS = (
    "ant", "ape", "bag", "bat", "bear", "bed", "bee", "book", "boot", "bowl", "box", "bus", "cap",
    "car", "cart", "cat", "chair", "clock", "coat", "cow", "cup", "deer", "desk", "dog", "door",
    "drum", "duck", "fish", "fork", "fox", "frog", "goat", "hat", "hen", "horse", "jar", "key",
    "kite", "knife", "lamp", "lion", "mouse", "nest", "owl", "pan", "pen", "pig", "plate", "pot",
    "rabbit", "rat", "ring", "rope", "seal", "sheep", "shoe", "snake", "sock", "spoon", "stone",
    "swan", "table", "tiger", "train", "truck", "whale", "wolf", "worm",
)  # fmt: skip


def pseudo_word(rng: Random, length: int) -> str:
    """A lower-case word of ``length`` letters in which consonants and vowels alternate."""
    return "".join(rng.choice(VOWELS if i % 2 else CONSONANTS) for i in range(length))
