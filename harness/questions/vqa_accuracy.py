"""The ten-answer rule of VQA: how far an answer agrees with what ten people said."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from harness.questions.normalized_answer import normalized_answer


def vqa_accuracy(answer: str, people: Sequence[str]) -> float:
    """Mean over people of ``min(1, matches among the others / 3)``, all answers processed.

    With ten people an answer that one, two, three or four gave scores 0.3, 0.6, 0.9 or 1. The
    same rule holds for fewer people: n of them that all agree with the answer give
    ``min(1, (n - 1) / 3)``, hence a single one gives 0 whatever is answered.

    Source: Antol et al., VQA: Visual Question Answering, https://arxiv.org/abs/1505.00468; in
    this form the code of TextVQA's challenge server.
    """
    said = normalized_answer(answer)
    agrees = [normalized_answer(person) == said for person in people]
    return float(mean(min(1.0, (sum(agrees) - agree) / 3) for agree in agrees))
