"""What was seen in prompts and answers, as cautions that read alike for every library."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from harness.plugin import Caution, Effect

NO_ANSWER = frozenset(("[invalid]", "['invalid']"))
"""What the libraries' filters give where they find nothing in an answer, unless told otherwise."""


def changing(kind: str, count: int, total: int, how: str) -> Iterator[Caution]:
    """``count`` of ``total`` documents were asked otherwise than their task says."""
    if count:
        yield _counted("changes the number", kind, count, f"{count} of {total} {how}")


def unended(count: int, total: int) -> Iterator[Caution]:
    """Answers that the maximum length ended."""
    if count:
        text = f"{count} of {total} answers ended by the maximum length, not by themselves"
        yield _counted("advice", "answers ended by length", count, text)


def unread(rows: Mapping[str, list[Any]], tasks: Iterable[Any]) -> Iterator[Caution]:
    """Answers of ``tasks`` in which filters found nothing; ``rows`` are answers by filter."""
    nothing = NO_ANSWER.union(*map(_fallbacks, tasks))
    for kept, answers in rows.items():
        if count := sum(_single(answer) in nothing for answer in answers):
            text = f"{count} of {len(answers)} answers in which filter {kept} found nothing"
            yield _counted("advice", f"answers not read by {kept}", count, text)


def _fallbacks(task: Any) -> Iterator[str]:
    """What the task's file has filters give where they find nothing."""
    for filters in task.get_config("filter_list") or ():
        for step in filters["filter"]:
            if step.get("fallback"):
                yield str(step["fallback"])


def _single(filtered: Any) -> str:
    while isinstance(filtered, list | tuple) and len(filtered) == 1 and filtered != ["invalid"]:
        (filtered,) = filtered
    return str(filtered)


def _counted(effect: Effect, kind: str, count: int, text: str) -> Caution:
    return Caution(kind=kind, effect=effect, count=count, text=text)
