"""From scores to metrics: the whole first, then each slice that has questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from harness.questions.intervals import Interval, standard_error
from harness.questions.question import Question
from harness.records.results import Metric


@dataclass(frozen=True)
class Measure:
    """What scores are called and how sure their mean is.

    ``name`` is the metric with its protocol, ``value`` one score's name in a sample; ``slices``
    are the parts of the data in the order in which they are listed.
    """

    name: str
    value: str
    interval: Interval
    slices: tuple[str, ...] = ()

    def metrics(self, questions: Sequence[Question], scores: Sequence[float]) -> tuple[Metric, ...]:
        """The mean score of ``questions`` and of each slice that occurs among them."""
        parts = [self._metric(scores, None)]
        for part in self.slices:
            chosen = [s for q, s in zip(questions, scores, strict=True) if part in q.slices]
            if chosen:
                parts.append(self._metric(chosen, part))
        return tuple(parts)

    def _metric(self, scores: Sequence[float], part: str | None) -> Metric:
        return Metric(
            name=self.name,
            value=fmean(scores),
            stderr=standard_error(scores),
            n=len(scores),
            unit="questions",
            higher_is_better=True,
            slice=part,
            interval=self.interval(scores),
        )


def metric_name(metric: str, **facts: str | int) -> str:
    """A metric's name with what decides its value: ``accuracy[prompt=direct,...]``."""
    return f"{metric}[{','.join(f'{key}={value}' for key, value in facts.items())}]"
