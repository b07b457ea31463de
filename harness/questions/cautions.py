"""What a reader must know of the answers that scores are taken from."""

from __future__ import annotations

from collections.abc import Iterator

from harness.questions.asking import Answered
from harness.records.results import Caution


def cautions(answered: Answered) -> Iterator[Caution]:
    """Answers that their greatest length ended, and those in which nothing was found."""
    counts = {
        "answers ended by length": (
            sum(not answer.ended for _, answer in answered),
            "answers ended by the maximum length, not by themselves",
        ),
        "answers not read": (
            sum(not question.reads(answer.text) for question, answer in answered),
            "answers in which the task's rule found nothing",
        ),
    }
    for kind, (count, what) in counts.items():
        if count:
            text = f"{count} of {len(answered)} {what}"
            yield Caution(kind=kind, effect="advice", count=count, text=text)
