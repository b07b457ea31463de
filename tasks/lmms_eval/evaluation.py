"""Run lmms-eval, in this process, on a model in memory."""

from __future__ import annotations

import multiprocessing
import tempfile
from argparse import Namespace
from collections.abc import Mapping
from contextlib import ExitStack
from multiprocessing.pool import ThreadPool
from typing import Any

from lmms_eval import evaluator

from harness.plugin import Conditions, LanguageModel
from tasks.eval_libraries.evaluation import Generators, seed_evaluation, whole_limit
from tasks.eval_libraries.failures import named_running, named_scoring
from tasks.eval_libraries.heard import Heard
from tasks.eval_libraries.library import LMMS_EVAL
from tasks.eval_libraries.replacing import replaced
from tasks.lmms_eval.adapter import InMemory
from tasks.lmms_eval.isolation import contained
from tasks.lmms_eval.loading import leaves
from tasks.lmms_eval.settings import Settings


def evaluate(
    loaded: dict[Any, Any],
    generators: Generators,
    settings: Mapping[str, Settings],
    subject: LanguageModel,
    conditions: Conditions,
    *,
    batch_size: int,
    bootstrap: int,
    fewshot_seed: int,
    heard: Heard,
) -> tuple[dict[str, Any], InMemory]:
    """Evaluate ``subject`` on the tasks of ``loaded``: lmms-eval's results, and what was counted.

    ``evaluator.evaluate`` and not ``simple_evaluate``: the latter patches ssl and filelock for the
    whole process and starts git.

    Args:
        loaded: what ``loading.load`` gave.
        generators: as loading left them.
        settings: of generation, by task.
        subject: the model and its processor; both are left as they are.
        conditions: limit (documents per task), seed and tracker.
        batch_size: questions per forward pass.
        bootstrap: resamples for standard errors without a closed form.
        fewshot_seed: of the draw of examples.
        heard: takes in what the library warns of.

    Raises:
        NonFiniteError: the model gives NaN.
        UsageError: an answer cannot be scored, or the model or a task cannot be used.
    """
    limit = whole_limit(conditions.limit)
    model = InMemory(subject, settings, batch_size, conditions.track)
    tasks = leaves(loaded)
    with ExitStack() as stack:
        stack.enter_context(contained(heard))
        # Bootstrapping would fork a process that may hold a device.
        stack.enter_context(replaced(multiprocessing, "Pool", ThreadPool))
        # Some tasks write their answers to a file for a judge elsewhere.
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        for task in tasks:
            stack.enter_context(named_scoring(LMMS_EVAL, task))
            model.task_dict[task.task_name] = task.dataset
        stack.enter_context(named_running(LMMS_EVAL, " ".join(settings)))
        seed_evaluation(tasks, generators, fewshot_seed=fewshot_seed, seed=conditions.seed)
        results: dict[str, Any] = evaluator.evaluate(
            lm=model,
            task_dict=loaded,
            limit=limit,
            bootstrap_iters=bootstrap,
            log_samples=True,
            process_docs_parallel=1,
            cli_args=Namespace(output_path=folder, process_with_media=True),
        )
    return results, model
