"""The lm-eval plugin; the library itself is imported when a task is prepared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from harness.plugin import Conditions, DataFacts, LanguageModel, TaskResult
from harness.plugins.ranges import require_in_range


@dataclass(frozen=True)
class LmEvalConfig:
    """Options of every lm-eval task.

    Attributes:
        num_fewshot: number of examples in the prompt, unless the task insists on none; by itself
            each task has its own.
        bootstrap_iters: number of resamples for the standard errors that have no closed form; 0
            leaves all standard errors out.
    """

    num_fewshot: Annotated[int, Field(ge=0, le=10_000)] | None = None
    bootstrap_iters: Annotated[int, Field(ge=0, le=10_000_000)] = 1000

    def __post_init__(self) -> None:
        require_in_range(self)


@dataclass(frozen=True)
class LmEvalTask:
    """Adapter to lm-eval."""

    summary: str = "any lm-eval task by its name, or a task YAML file by its path"
    config: type[LmEvalConfig] = LmEvalConfig

    def prepare(self, name: str, data: str | None, config: LmEvalConfig) -> PreparedLmEval:
        """Find the task and fetch its data; see ``harness.evaluation.task.Task``.

        Args:
            name: a name of lm-eval's own, or the path of a file that ends in .yaml or .yml.
            data: must be None.
            config: the options.
        """
        from tasks.eval_libraries.fingerprint import identity  # noqa: PLC0415
        from tasks.eval_libraries.following import followed  # noqa: PLC0415
        from tasks.eval_libraries.library import LM_EVAL  # noqa: PLC0415
        from tasks.eval_libraries.output import quiet  # noqa: PLC0415
        from tasks.lm_eval.fingerprint import content, posed  # noqa: PLC0415
        from tasks.lm_eval.loading import load  # noqa: PLC0415

        LM_EVAL.require_no_data(name, data)
        with quiet(), followed(name) as trace:
            loaded = load(name, config.num_fewshot)
            tasks = list(loaded["tasks"].values())
            known = identity(LM_EVAL, name, tasks, content, posed, trace)
        return PreparedLmEval(
            known.facts, loaded, config.bootstrap_iters, known.without_code, known.files
        )


@dataclass(frozen=True)
class PreparedLmEval:
    """lm-eval tasks with their documents.

    ``loaded`` is what its ``TaskManager`` gives; ``files`` are the local code and what it read.
    """

    data: DataFacts
    loaded: Any
    bootstrap_iters: int
    former: str
    files: tuple[Path, ...]

    def evaluate(self, subject: LanguageModel, conditions: Conditions) -> TaskResult:
        """Measure ``subject`` with lm-eval; see ``harness.evaluation.task.PreparedTask``."""
        from harness.evaluation.batch_size import largest_fitting_batch  # noqa: PLC0415
        from tasks.eval_libraries.following import nothing_new_read  # noqa: PLC0415
        from tasks.eval_libraries.library import LM_EVAL  # noqa: PLC0415
        from tasks.lm_eval.evaluation import evaluate  # noqa: PLC0415
        from tasks.lm_eval.results import task_result  # noqa: PLC0415

        with nothing_new_read(LM_EVAL, self.data.reference, self.files):
            outcome, batch_size = largest_fitting_batch(
                lambda size: evaluate(
                    self.loaded,
                    subject,
                    conditions,
                    batch_size=size,
                    bootstrap=self.bootstrap_iters,
                ),
                conditions.batch_size,
            )
        return task_result(outcome, batch_size)


plugin = LmEvalTask()
