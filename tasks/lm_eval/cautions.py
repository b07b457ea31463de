"""What a reader must know of an lm-eval result, counted from prompts and answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from harness.plugin import Caution
from tasks.eval_libraries.evaluation import takes_the_first
from tasks.eval_libraries.fingerprint import canonical
from tasks.eval_libraries.seen import changing, unended, unread

if TYPE_CHECKING:
    from tasks.lm_eval.watched_model import WatchedLM

Places = dict[str, frozenset[int]]
"""Positions of documents, by task."""


def own_examples(tasks: Sequence[Any]) -> Places:
    """The documents that are also among the examples that prompts are made from."""
    return {task.task_name: frozenset(_own_examples(task)) for task in tasks}


def _own_examples(task: Any) -> Iterator[int]:
    if shots := task.get_config("num_fewshot"):
        examples = list(task.fewshot_docs())
        shown = examples[:shots] if takes_the_first(task) else examples
        pool = {canonical(document) for document in shown}
        for place, document in enumerate(task.eval_docs):
            if canonical(document) in pool:
                yield place


def counted(
    tasks: Sequence[Any], outcome: dict[str, Any], model: WatchedLM, own: Places
) -> Iterator[Caution]:
    """All that was seen while ``model`` was asked ``tasks``; ``own`` is of ``own_examples``."""
    rows = {task.task_name: outcome["samples"][task.task_name] for task in tasks}
    asked = {(name, row["doc_id"]) for name, members in rows.items() for row in members}
    cut = {(t.task_name, i.doc_id) for t in tasks for i in t.instances if _cut(i, model)}
    how = f"prompts cut from the left to the {model.max_length} tokens the model sees"
    yield from changing("prompts cut", len(cut), len(asked), how)
    among = sum(place in own[name] for name, place in asked)
    how = "documents are themselves among the few-shot examples"
    yield from changing("few-shot examples from the evaluated documents", among, len(asked), how)
    if model.tokenizer.bos_token_id is None:
        bare = {(t.task_name, i.doc_id) for t in tasks for i in t.instances if _bare(i)}
        how = "documents begin with the end-of-text token, as the tokenizer has no BOS"
        yield from changing("no BOS token", len(bare), len(asked), how)
    written = sum(len(i.resps) for t in tasks for i in t.instances if _writes(i))
    if model.pad is not None and written:
        how = f"batches of prompts padded with {model.pad}, as the tokenizer has no padding token"
        yield Caution(kind="no padding token", effect="advice", count=written, text=how)
    yield from unended(model.unended, written)
    yield from unread(_filtered(tasks, rows), tasks)


def _cut(instance: Any, model: WatchedLM) -> bool:
    return (instance.args[0] if _writes(instance) else tuple(instance.args)) in model.cut


def _bare(instance: Any) -> bool:
    """Whether nothing stands before the first token that is scored."""
    return instance.request_type == "loglikelihood_rolling" or (
        instance.request_type == "loglikelihood" and not instance.args[0]
    )


def _writes(instance: Any) -> bool:
    return bool(instance.request_type == "generate_until")


def _filtered(tasks: Sequence[Any], rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
    by_filter: dict[str, list[Any]] = {}
    for task in tasks:
        if task.OUTPUT_TYPE == "generate_until":
            for row in rows[task.task_name]:
                by_filter.setdefault(row["filter"], []).append(row["filtered_resps"])
    return by_filter
