"""Run lm-eval, in this process, on a model in memory."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import lm_eval
from torch import nn
from transformers import PreTrainedModel

from harness.plugin import Conditions, LanguageModel, NonFiniteError
from harness.support.progress import silent
from tasks.eval_libraries.evaluation import Generators, seed_evaluation, whole_limit
from tasks.eval_libraries.failures import named_running, named_scoring
from tasks.eval_libraries.library import LM_EVAL
from tasks.eval_libraries.output import on_stderr, quiet
from tasks.lm_eval.watched_model import WatchedLM


def evaluate(
    loaded: Any,
    generators: Generators,
    subject: LanguageModel,
    conditions: Conditions,
    *,
    batch_size: int,
    bootstrap: int,
    fewshot_seed: int,
) -> tuple[dict[str, Any], WatchedLM]:
    """Evaluate ``subject`` on the tasks of ``loaded``: lm-eval's results, and what was counted.

    ``lm_eval.evaluate`` and not ``simple_evaluate``: the latter starts git and system programs
    for facts that the run's record holds already, and their errors reach the terminal.

    Args:
        loaded: lm-eval's ``TaskDict``.
        generators: as loading left them.
        subject: the model and its tokenizer; both are left as they are.
        conditions: limit (documents per task), seed and tracker.
        batch_size: sequences per forward pass.
        bootstrap: resamples for standard errors without a closed form.
        fewshot_seed: of the draw of examples.

    Raises:
        NonFiniteError: the model gives NaN.
        UsageError: an answer cannot be scored, or a task cannot be used.
    """
    tasks = loaded["tasks"].values()
    limit = whole_limit(conditions.limit)
    with ExitStack() as stack:
        stack.enter_context(quiet() if conditions.track is silent else on_stderr())
        stack.enter_context(_one_process())
        stack.enter_context(_weights_as_they_are(subject.model))
        stack.enter_context(_no_nan(subject.model))
        for task in tasks:
            stack.enter_context(named_scoring(LM_EVAL, task))
        stack.enter_context(named_running(LM_EVAL, " ".join(loaded["tasks"])))
        seed_evaluation(tasks, generators, fewshot_seed=fewshot_seed, seed=conditions.seed)
        model = WatchedLM(
            pretrained=subject.model,
            # It gives a tokenizer without a padding token one.
            tokenizer=copy.deepcopy(subject.tokenizer),
            batch_size=batch_size,
            softmax_dtype="float32",
        )
        results: dict[str, Any] = lm_eval.evaluate(
            lm=model,
            task_dict=loaded,
            limit=limit,
            bootstrap_iters=bootstrap,
            log_samples=True,
        )
    return results, model


@contextmanager
def _weights_as_they_are(model: PreTrainedModel) -> Iterator[None]:
    """Keep HFLM from tying an output layer that no longer is the embedding."""
    vars(model)["tie_weights"] = lambda: None
    try:
        yield
    finally:
        del vars(model)["tie_weights"]


@contextmanager
def _no_nan(model: nn.Module) -> Iterator[None]:
    """Stop at NaN, from which lm-eval would make a choice or a word like any other."""

    def check(_module: nn.Module, _inputs: Any, output: Any) -> None:
        if output.logits[:, -1].isnan().any():
            raise NonFiniteError("the model gives NaN as scores of the next token")

    hook = model.register_forward_hook(check)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def _one_process() -> Iterator[None]:
    """Bootstrap here: lm-eval would fork a process that may hold a device."""
    before = os.environ.get("DISABLE_MULTIPROC")
    os.environ["DISABLE_MULTIPROC"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["DISABLE_MULTIPROC"]
        else:
            os.environ["DISABLE_MULTIPROC"] = before
