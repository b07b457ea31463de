"""Identity of what an lm-eval task asks: its documents, its prompt, its scoring."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from tasks.eval_libraries.evaluation import seeds
from tasks.eval_libraries.fingerprint import canonical, configuration
from tasks.eval_libraries.library import LM_EVAL
from tasks.eval_libraries.posing import named_posing

PLACES = ("dataset_kwargs", "metadata")
"""Configuration that names places on this machine; what lies there is hashed itself."""


def content(task: Any, fewshot_seed: int) -> Iterator[bytes]:
    """All that decides the results of ``task``, the same on every machine."""
    drawn = seeds(task, fewshot_seed, sampled=_samples(task))
    yield canonical(
        configuration(task, PLACES)
        | {"documents": list(task.eval_docs), "examples": _examples(task)}
        | drawn
    )


def posed(task: Any) -> Iterator[bytes]:
    """Prompt, target and choices of every document and example, as the task makes them."""
    makers = [task.doc_to_text, task.doc_to_target]
    if task.get_config("doc_to_choice") is not None:
        makers.append(task.doc_to_choice)
    documents = [*task.eval_docs, *_examples(task)]
    for number, document in enumerate(documents):
        with named_posing(LM_EVAL, task.task_name, number):
            yield canonical([make(document) for make in makers])
    for document in documents[:1]:
        _rehearse(task, document)


def _rehearse(task: Any, document: Any) -> None:
    """Score an answer that nobody gave, for what the code opens while it scores."""
    answers: Any = {"generate_until": [""], "loglikelihood_rolling": [0.0]}
    with suppress(Exception):
        choices = task.doc_to_choice(document) if task.OUTPUT_TYPE == "multiple_choice" else [""]
        scored = [(0.0, False) for _ in choices]
        task.process_results(document, answers.get(task.OUTPUT_TYPE, scored))


def _examples(task: Any) -> list[Any]:
    return list(task.fewshot_docs()) if task.get_config("num_fewshot") else []


def _samples(task: Any) -> bool:
    """Whether answers are drawn at random."""
    given = task.get_config("generation_kwargs") or {}
    return bool(given.get("do_sample") or given.get("temperature"))
