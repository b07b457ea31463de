"""Run lmms-eval, in this process, on a model in memory."""

from __future__ import annotations

import multiprocessing
import tempfile
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from multiprocessing.pool import ThreadPool
from typing import Any

from lmms_eval import evaluator
from transformers import set_seed

from harness.errors import HarnessError, UsageError
from harness.evaluation.task import Conditions
from harness.models.language_model import LanguageModel
from tasks.lmms_eval.adapter import InMemory
from tasks.lmms_eval.isolation import contained, replaced
from tasks.lmms_eval.loading import leaves, one_line
from tasks.lmms_eval.settings import Settings


def evaluate(
    loaded: dict[Any, Any],
    settings: Mapping[str, Settings],
    subject: LanguageModel,
    conditions: Conditions,
    *,
    batch_size: int,
    bootstrap: int,
) -> dict[str, Any]:
    """Evaluate ``subject`` on the tasks of ``loaded`` and return lmms-eval's results.

    ``evaluator.evaluate`` and not ``simple_evaluate``: the latter patches ssl and filelock for the
    whole process and starts git.

    Args:
        loaded: what ``loading.load`` gave.
        settings: of generation, by task.
        subject: the model and its processor; both are left as they are.
        conditions: limit (documents per task), seed and tracker.
        batch_size: questions per forward pass.
        bootstrap: resamples for standard errors without a closed form.

    Raises:
        NonFiniteError: the model gives NaN.
        UsageError: an answer cannot be scored, or the model or a task cannot be used.
    """
    name = " ".join(settings)
    limit = conditions.limit
    if limit is not None and (limit < 1 or int(limit) != limit):
        raise UsageError(f"limit {limit} is no number of documents; pass an integer from 1")
    model = InMemory(subject, settings, batch_size, conditions.track)
    with ExitStack() as stack:
        stack.enter_context(contained())
        # Bootstrapping would fork a process that may hold a device.
        stack.enter_context(replaced(multiprocessing, "Pool", ThreadPool))
        # Some tasks write their answers to a file for a judge elsewhere.
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        for task in leaves(loaded):
            stack.enter_context(_scoring_once(task))
            task.set_fewshot_seed(seed=conditions.seed)
            model.task_dict[task.task_name] = task.dataset
        set_seed(conditions.seed)
        try:
            results: dict[str, Any] = evaluator.evaluate(
                lm=model,
                task_dict=loaded,
                limit=limit,
                bootstrap_iters=bootstrap,
                log_samples=True,
                process_docs_parallel=1,
                cli_args=Namespace(output_path=folder, process_with_media=True),
            )
        except (HarnessError, RuntimeError, MemoryError):
            raise
        # Functions of a task, such as those that aggregate, may raise anything.
        except Exception as error:
            raise UsageError(
                f"lmms-eval task '{name}' does not run: {type(error).__name__}: {one_line(error)}"
            ) from error
    return results


@contextmanager
def _scoring_once(task: Any) -> Iterator[None]:
    """Score without the five attempts, two seconds apart, that lmms-eval makes of every error."""
    scoring = type(task).process_results
    plain = getattr(scoring, "__wrapped__", scoring)

    def once(document: Any, answers: Any, **rest: Any) -> Any:
        try:
            return plain(task, document, answers, **rest)
        except HarnessError:
            raise
        # A task's own scoring may raise anything.
        except Exception as error:
            raise UsageError(
                f"lmms-eval task '{task.task_name}' cannot score the answer {answers}: "
                f"{type(error).__name__}: {one_line(error)}"
            ) from error

    with replaced(task, "process_results", once):
        yield
