"""What a reader must know of an lmms-eval result, counted from prompts and answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from harness.plugin import Caution
from tasks.eval_libraries.seen import changing, unended, unread

if TYPE_CHECKING:
    from tasks.lmms_eval.adapter import InMemory


def counted(tasks: Sequence[Any], outcome: dict[str, Any], model: InMemory) -> Iterator[Caution]:
    """All that was seen while ``model`` was asked ``tasks``."""
    rows = {task.task_name: outcome["samples"][task.task_name] for task in tasks}
    asked = {(name, row["doc_id"]) for name, members in rows.items() for row in members}
    how = "prompts mark more images than are shown"
    yield from changing("images missing", len(model.imageless), len(asked), how)
    own = {task.task_name for task in tasks if _takes_examples_from_what_it_evaluates(task)}
    among = sum(name in own for name, _ in asked)
    how = "documents are of the split that the few-shot examples are drawn from"
    yield from changing("few-shot examples from the evaluated documents", among, len(asked), how)
    yield from unended(model.unended, model.answers)
    by_filter: dict[str, list[Any]] = {}
    for task in tasks:
        filters = list(task.instances[0].filtered_resps)
        # All rows of one filter come first, then those of the next, and they do not say which.
        members = rows[task.task_name]
        each = len(members) // len(filters)
        for place, kept in enumerate(filters):
            kept_rows = members[place * each : (place + 1) * each]
            by_filter.setdefault(kept, []).extend(row["filtered_resps"] for row in kept_rows)
    yield from unread(by_filter, tasks)


def _takes_examples_from_what_it_evaluates(task: Any) -> bool:
    if not task.get_config("num_fewshot"):
        return False
    splits = ("fewshot_split", "training_split", "validation_split", "test_split")
    examples = next(filter(None, map(task.get_config, splits)), None)
    return examples == (task.get_config("test_split") or task.get_config("validation_split"))
