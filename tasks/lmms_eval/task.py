"""The lmms-eval plugin; the library itself is imported when a task is prepared."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from harness.evaluation.task import PREFIXED
from harness.plugin import Caution, Conditions, DataFacts, LanguageModel, TaskResult, UsageError
from harness.plugins.options import AddedLater
from harness.plugins.ranges import require_in_range

if TYPE_CHECKING:
    from tasks.eval_libraries.evaluation import Generators
    from tasks.lmms_eval.settings import Settings


@dataclass(frozen=True)
class LmmsEvalConfig:
    """Options of every lmms-eval task.

    Attributes:
        max_new_tokens: number of tokens at which an answer ends where the task sets no limit; it
            then stands in the metric's name.
        bootstrap_iters: number of resamples for the standard errors that have no closed form; 0
            leaves those out.
        fewshot_seed: seed of the draw of examples for the prompt; lmms-eval's own by default.
    """

    max_new_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = 128
    bootstrap_iters: Annotated[int, Field(ge=0, le=10_000_000)] = 1000
    fewshot_seed: Annotated[int, Field(ge=0, le=4_294_967_295), AddedLater()] = 1234

    def __post_init__(self) -> None:
        require_in_range(self)


@dataclass(frozen=True)
class LmmsEvalTask:
    """Adapter to lmms-eval."""

    summary: str = "any lmms-eval task with images, as lmms-eval:NAME or lmms-eval:FILE.yaml"
    config: type[LmmsEvalConfig] = LmmsEvalConfig

    def prepare(self, name: str, data: str | None, config: LmmsEvalConfig) -> PreparedLmmsEval:
        """Find the task and fetch its data; see ``harness.evaluation.task.Task``.

        Args:
            name: ``lmms-eval:`` and a name of lmms-eval's own or the path of a task's YAML file.
            data: must be None.
            config: the options.
        """
        from tasks.eval_libraries import classes  # noqa: PLC0415
        from tasks.eval_libraries.heard import listening  # noqa: PLC0415
        from tasks.eval_libraries.library import LMMS_EVAL  # noqa: PLC0415
        from tasks.lmms_eval.isolation import contained, require_installed  # noqa: PLC0415

        asked = name.removeprefix(LMMS_EVAL.prefix)
        if not asked or asked == PREFIXED:
            raise UsageError(f"'{name}' names no task; write {LMMS_EVAL.prefix}NAME")
        LMMS_EVAL.require_no_data(asked, data)
        require_installed()
        with listening() as heard, contained(heard):
            from tasks.eval_libraries.evaluation import (  # noqa: PLC0415
                Generators,
                seed_loading,
            )
            from tasks.eval_libraries.fingerprint import identity  # noqa: PLC0415
            from tasks.eval_libraries.following import followed  # noqa: PLC0415
            from tasks.lmms_eval.fingerprint import content, posed  # noqa: PLC0415
            from tasks.lmms_eval.loading import leaves, load  # noqa: PLC0415
            from tasks.lmms_eval.settings import settings_of  # noqa: PLC0415

            with followed(asked) as trace:
                seed_loading()
                loaded = load(asked)
                generators = Generators.now()
                tasks = leaves(loaded)
                settings = {t.task_name: settings_of(t, config.max_new_tokens) for t in tasks}
                said = tuple(classes.cautions(heard))
                decisive = partial(content, settings=settings, fewshot_seed=config.fewshot_seed)
                known = identity(LMMS_EVAL, name, tasks, decisive, posed, trace)
        return PreparedLmmsEval(
            known.facts, loaded, generators, settings, config, said, known.without_code, known.files
        )


@dataclass(frozen=True)
class PreparedLmmsEval:
    """lmms-eval tasks with their documents.

    ``loaded`` is what its ``TaskManager`` gives, ``generators`` are as loading left them,
    ``cautions`` are those of loading, and ``files`` the local code and what it read.
    """

    data: DataFacts
    loaded: dict[Any, Any]
    generators: Generators
    settings: dict[str, Settings]
    config: LmmsEvalConfig
    cautions: tuple[Caution, ...]
    former: str
    files: tuple[Path, ...]

    def evaluate(self, subject: LanguageModel, conditions: Conditions) -> TaskResult:
        """Measure ``subject`` with lmms-eval; see ``harness.evaluation.task.PreparedTask``."""
        from harness.evaluation.batch_size import largest_fitting_batch  # noqa: PLC0415
        from tasks.eval_libraries import classes  # noqa: PLC0415
        from tasks.eval_libraries.heard import listening  # noqa: PLC0415
        from tasks.lmms_eval.isolation import contained  # noqa: PLC0415

        with contained():
            from tasks.eval_libraries.following import nothing_new_read  # noqa: PLC0415
            from tasks.eval_libraries.library import LMMS_EVAL  # noqa: PLC0415
            from tasks.lmms_eval.cautions import counted  # noqa: PLC0415
            from tasks.lmms_eval.evaluation import evaluate  # noqa: PLC0415
            from tasks.lmms_eval.loading import leaves  # noqa: PLC0415
            from tasks.lmms_eval.results import task_result  # noqa: PLC0415
        with listening() as heard, nothing_new_read(LMMS_EVAL, self.data.reference, self.files):
            (outcome, model), batch_size = largest_fitting_batch(
                lambda size: evaluate(
                    self.loaded,
                    self.generators,
                    self.settings,
                    subject,
                    conditions,
                    batch_size=size,
                    bootstrap=self.config.bootstrap_iters,
                    fewshot_seed=self.config.fewshot_seed,
                    heard=heard,
                ),
                conditions.batch_size,
            )
        seen = counted(leaves(self.loaded), outcome, model)
        cautions = (*self.cautions, *seen, *classes.cautions(heard))
        result = task_result(outcome, self.loaded, self.settings, batch_size)
        return result.model_copy(update={"cautions": cautions})


plugin = LmmsEvalTask()
