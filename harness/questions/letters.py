"""Which option an answer to a multiple-choice question means."""

from __future__ import annotations

import re

_SENTENCE = re.compile(r"The answer is ([A-Z]).")


def option_letter(index: int) -> str:
    """The letter of the option at ``index``: A, B, C and so on."""
    return chr(ord("A") + index)


def parse_letter(answer: str) -> str | None:
    """The letter meant, in lower case, by the rule of lmms-eval's ``scienceqa``; None if none is.

    The whole answer is one letter in any case, or it starts with a capital letter and a full
    stop. ``(B)``, ``B)`` and ``The answer is B.`` are no letters to this rule.
    """
    text = answer.strip()
    if len(text) == 1 or (text[:1].isupper() and text[1:2] == "."):
        return text[0].lower()
    return None


def parse_sentence(answer: str) -> str | None:
    """``parse_letter``, else the one X for which the answer says "The answer is X.".

    The second rule is that of LLaVA's ScienceQA script (Liu et al., Visual Instruction Tuning,
    https://arxiv.org/abs/2304.08485), where any character may stand for the full stop.
    """
    letters = _SENTENCE.findall(answer)
    return parse_letter(answer) or (letters[0].lower() if len(letters) == 1 else None)
