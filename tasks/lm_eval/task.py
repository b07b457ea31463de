"""The lm-eval plugin; the library itself is imported when a task is prepared."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from harness.plugin import Caution, Conditions, DataFacts, LanguageModel, TaskResult
from harness.plugins.options import AddedLater
from harness.plugins.ranges import require_in_range

if TYPE_CHECKING:
    from tasks.eval_libraries.evaluation import Generators
    from tasks.lm_eval.cautions import Places


@dataclass(frozen=True)
class LmEvalConfig:
    """Options of every lm-eval task.

    Attributes:
        num_fewshot: number of examples in the prompt, unless the task insists on none; by itself
            each task has its own.
        bootstrap_iters: number of resamples for the standard errors that have no closed form; 0
            leaves all standard errors out.
        fewshot_seed: seed of the draw of those examples; lm-eval's own by default.
    """

    num_fewshot: Annotated[int, Field(ge=0, le=10_000)] | None = None
    bootstrap_iters: Annotated[int, Field(ge=0, le=10_000_000)] = 1000
    fewshot_seed: Annotated[int, Field(ge=0, le=4_294_967_295), AddedLater()] = 1234

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
        from tasks.eval_libraries import classes  # noqa: PLC0415
        from tasks.eval_libraries.evaluation import Generators, seed_loading  # noqa: PLC0415
        from tasks.eval_libraries.fingerprint import identity  # noqa: PLC0415
        from tasks.eval_libraries.following import followed  # noqa: PLC0415
        from tasks.eval_libraries.heard import listening  # noqa: PLC0415
        from tasks.eval_libraries.library import LM_EVAL  # noqa: PLC0415
        from tasks.eval_libraries.output import quiet  # noqa: PLC0415
        from tasks.lm_eval.cautions import own_examples  # noqa: PLC0415
        from tasks.lm_eval.fingerprint import content, posed  # noqa: PLC0415
        from tasks.lm_eval.loading import load  # noqa: PLC0415

        LM_EVAL.require_no_data(name, data)
        with quiet(), followed(name) as trace:
            with listening() as heard:
                seed_loading()
                loaded = load(name, config.num_fewshot)
                generators = Generators.now()
                tasks = list(loaded["tasks"].values())
                own = own_examples(tasks)
            decisive = partial(content, fewshot_seed=config.fewshot_seed)
            known = identity(LM_EVAL, name, tasks, decisive, posed, trace)
        cautions = tuple(classes.cautions(heard))
        return PreparedLmEval(
            known.facts, loaded, generators, config, own, cautions, known.without_code, known.files
        )


@dataclass(frozen=True)
class PreparedLmEval:
    """lm-eval tasks with their documents.

    ``loaded`` is what its ``TaskManager`` gives, ``generators`` are as loading left them, ``own``
    are the documents that are examples too, ``cautions`` those of loading, and ``files`` the local
    code and what it read.
    """

    data: DataFacts
    loaded: Any
    generators: Generators
    config: LmEvalConfig
    own: Places
    cautions: tuple[Caution, ...]
    former: str
    files: tuple[Path, ...]

    def evaluate(self, subject: LanguageModel, conditions: Conditions) -> TaskResult:
        """Measure ``subject`` with lm-eval; see ``harness.evaluation.task.PreparedTask``."""
        from harness.evaluation.batch_size import largest_fitting_batch  # noqa: PLC0415
        from tasks.eval_libraries import classes  # noqa: PLC0415
        from tasks.eval_libraries.following import nothing_new_read  # noqa: PLC0415
        from tasks.eval_libraries.heard import listening  # noqa: PLC0415
        from tasks.eval_libraries.library import LM_EVAL  # noqa: PLC0415
        from tasks.lm_eval.cautions import counted  # noqa: PLC0415
        from tasks.lm_eval.evaluation import evaluate  # noqa: PLC0415
        from tasks.lm_eval.results import task_result  # noqa: PLC0415

        with listening() as heard, nothing_new_read(LM_EVAL, self.data.reference, self.files):
            (outcome, model), batch_size = largest_fitting_batch(
                lambda size: evaluate(
                    self.loaded,
                    self.generators,
                    subject,
                    conditions,
                    batch_size=size,
                    bootstrap=self.config.bootstrap_iters,
                    fewshot_seed=self.config.fewshot_seed,
                ),
                conditions.batch_size,
            )
        seen = counted(list(self.loaded["tasks"].values()), outcome, model, self.own)
        cautions = (*self.cautions, *seen, *classes.cautions(heard))
        return task_result(outcome, batch_size).model_copy(update={"cautions": cautions})


plugin = LmEvalTask()
