"""What authors of methods, families, tasks, engines and commands import.

These names are the public face for plug-ins, documented and kept stable; everything else in the
package but ``harness`` itself and ``harness.algebra`` is private and may move without notice.
Each name is imported when it is first used, so that a plug-in loads no more than it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.algebra.drift import Drift
    from harness.algebra.preconditioners import Preconditioner
    from harness.algebra.rank_curves import RankCurve
    from harness.algebra.ranks import Junction
    from harness.assets.aliases import HubText
    from harness.assets.texts import resolve_text
    from harness.compression.compressor import (
        BiasUpdate,
        Compensating,
        Compressor,
        CompressorConfig,
        Propagation,
        RankedConfig,
        Ranking,
        Ranks,
    )
    from harness.compression.local import DampedConfig, Local, LocalConfig
    from harness.errors import (
        AssetError,
        HarnessError,
        IncompleteError,
        InfrastructureError,
        InputError,
        NonFiniteError,
        UsageError,
    )
    from harness.evaluation.batch_size import largest_fitting_batch
    from harness.evaluation.task import Conditions, PreparedTask, Task, Trained
    from harness.families.family import Family
    from harness.families.stack import Stack
    from harness.layers.factors import (
        CompressedLinear,
        DenseLinear,
        HeadIdentity,
        InputIdentity,
        LowRank,
        OutputIdentity,
    )
    from harness.layers.fused import Part
    from harness.layers.junction import join
    from harness.layers.predicted import PredictsShapes
    from harness.layers.pruned import KeptColumns, KeptRows
    from harness.layers.roles import SITE_OF_ROLE, WRITING_ROLES, Role, Site
    from harness.layers.shapes import LayerShape
    from harness.layers.weights import AttentionGeometry, BlockWeights, LinearWeights
    from harness.models.generation import answer
    from harness.models.language_model import LanguageModel
    from harness.models.prompt import Prompt, PromptSource
    from harness.plugins.command import Command
    from harness.plugins.ranges import Advice
    from harness.questions.asking import Ending
    from harness.questions.intervals import normal, wilson
    from harness.questions.multiple_choice import ChoiceConfig, multiple_choice
    from harness.questions.pictures import Picture
    from harness.questions.question import Question
    from harness.questions.results import Measure, metric_name
    from harness.questions.rows import CheckedRow, QuestionRows
    from harness.questions.short_answer import ReadingConfig, reading
    from harness.questions.source import HubQuestions, OwnQuestions
    from harness.questions.task import QuestionConfig, QuestionProtocol, QuestionTask
    from harness.records.record import DataFacts, RunRecord
    from harness.records.results import Caution, Effect, Metric, Sample, Skipped, TaskResult
    from harness.statistics.block_statistics import BackwardStatistics, BlockStatistics
    from harness.statistics.moments import Moments
    from harness.sweep.engines.engine import Ended, Engine, Started
    from harness.sweep.engines.scheduler import Outcome, Pool, deal

_EXPORTS = {
    "harness.algebra.drift": ("Drift",),
    "harness.algebra.preconditioners": ("Preconditioner",),
    "harness.algebra.rank_curves": ("RankCurve",),
    "harness.algebra.ranks": ("Junction",),
    "harness.assets.aliases": ("HubText",),
    "harness.assets.texts": ("resolve_text",),
    "harness.compression.compressor": ("BiasUpdate", "Compensating", "Compressor",
        "CompressorConfig", "Propagation", "RankedConfig", "Ranking", "Ranks"),
    "harness.compression.local": ("DampedConfig", "Local", "LocalConfig"),
    "harness.errors": ("AssetError", "HarnessError", "IncompleteError", "InfrastructureError",
        "InputError", "NonFiniteError", "UsageError"),
    "harness.evaluation.batch_size": ("largest_fitting_batch",),
    "harness.evaluation.task": ("Conditions", "PreparedTask", "Task", "Trained"),
    "harness.families.family": ("Family",),
    "harness.families.stack": ("Stack",),
    "harness.layers.factors": ("CompressedLinear", "DenseLinear", "HeadIdentity",
        "InputIdentity", "LowRank", "OutputIdentity"),
    "harness.layers.fused": ("Part",),
    "harness.layers.junction": ("join",),
    "harness.layers.pruned": ("KeptColumns", "KeptRows"),
    "harness.layers.roles": ("Role", "SITE_OF_ROLE", "Site", "WRITING_ROLES"),
    "harness.layers.shapes": ("LayerShape",),
    "harness.layers.predicted": ("PredictsShapes",),
    "harness.layers.weights": ("AttentionGeometry", "BlockWeights", "LinearWeights"),
    "harness.models.generation": ("answer",),
    "harness.models.language_model": ("LanguageModel",),
    "harness.models.prompt": ("Prompt", "PromptSource"),
    "harness.plugins.command": ("Command",),
    "harness.plugins.ranges": ("Advice",),
    "harness.questions.asking": ("Ending",),
    "harness.questions.intervals": ("normal", "wilson"),
    "harness.questions.multiple_choice": ("ChoiceConfig", "multiple_choice"),
    "harness.questions.pictures": ("Picture",),
    "harness.questions.question": ("Question",),
    "harness.questions.results": ("Measure", "metric_name"),
    "harness.questions.rows": ("CheckedRow", "QuestionRows"),
    "harness.questions.short_answer": ("ReadingConfig", "reading"),
    "harness.questions.source": ("HubQuestions", "OwnQuestions"),
    "harness.questions.task": ("QuestionConfig", "QuestionProtocol", "QuestionTask"),
    "harness.records.record": ("DataFacts", "RunRecord"),
    "harness.records.results": ("Caution", "Effect", "Metric", "Sample", "Skipped",
        "TaskResult"),
    "harness.statistics.block_statistics": ("BackwardStatistics", "BlockStatistics"),
    "harness.statistics.moments": ("Moments",),
    "harness.sweep.engines.engine": ("Ended", "Engine", "Started"),
    "harness.sweep.engines.scheduler": ("Outcome", "Pool", "deal"),
}  # fmt: skip
_HOMES = {name: module for module, names in _EXPORTS.items() for name in names}

__all__ = [
    "SITE_OF_ROLE", "WRITING_ROLES", "Advice", "AssetError", "AttentionGeometry",
    "BackwardStatistics", "BiasUpdate", "BlockStatistics", "BlockWeights", "Caution",
    "CheckedRow", "ChoiceConfig", "Command", "Compensating", "CompressedLinear", "Compressor",
    "CompressorConfig", "Conditions", "DampedConfig", "DataFacts", "DenseLinear", "Drift",
    "Effect", "Ended", "Ending", "Engine", "Family", "HarnessError", "HeadIdentity", "HubQuestions",
    "HubText", "IncompleteError", "InfrastructureError", "InputError", "InputIdentity", "Junction",
    "KeptColumns", "KeptRows", "LanguageModel", "LayerShape", "LinearWeights", "Local",
    "LocalConfig", "LowRank", "Measure", "Metric", "Moments", "NonFiniteError", "Outcome",
    "OutputIdentity", "OwnQuestions", "Part", "Picture", "Pool", "Preconditioner",
    "PredictsShapes", "PreparedTask", "Prompt", "PromptSource", "Propagation", "Question",
    "QuestionConfig", "QuestionProtocol", "QuestionRows", "QuestionTask", "RankCurve",
    "RankedConfig", "Ranking", "Ranks", "ReadingConfig", "Role", "RunRecord", "Sample", "Site",
    "Skipped", "Stack", "Started", "Task", "TaskResult", "Trained", "UsageError", "answer",
    "deal", "join", "largest_fitting_batch", "metric_name", "multiple_choice", "normal",
    "reading", "resolve_text", "wilson",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'harness.plugin' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
