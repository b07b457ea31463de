"""The harness from Python: load, compress, evaluate.

>>> import harness
>>> dense = harness.load_model("smollm2-135m")
>>> small = harness.compress(dense, "latentllm", ratio=0.3)
>>> print(small.compression.ratio_layers)
>>> print(harness.evaluate(small, "wiki-excerpt").metrics[0])
"""

from __future__ import annotations

from typing import Any

from harness.assets.texts import resolve_text
from harness.compression import compress_model
from harness.compressor import compressors
from harness.loading import load_model
from harness.model import LanguageModel
from harness.options import configure
from harness.progress import Tracker, silent
from harness.results import TaskResult
from harness.spec import CalibrationSpec
from harness.statistics.calibration import draw
from harness.task import Conditions, find_task

__all__ = ["DEFAULT_CALIBRATION", "compress", "evaluate", "load_model"]

DEFAULT_CALIBRATION = CalibrationSpec(text="c4-excerpt", samples=24, length=512)


def compress(
    subject: LanguageModel,
    method: str,
    ratio: float,
    *,
    calibration: CalibrationSpec = DEFAULT_CALIBRATION,
    batch_size: int = 8,
    track: Tracker = silent,
    **options: Any,
) -> LanguageModel:
    """A copy of ``subject`` with ``ratio`` of its linear layers' parameters removed.

    Args:
        subject: a dense model; left untouched, shares what is not compressed.
        method: a registered method, e.g. ``latentllm``.
        ratio: share to remove, ``0 <= ratio < 1``.
        calibration: which text the activation statistics come from.
        batch_size: sequences per forward pass.
        track: progress.
        options: the method's own, e.g. ``junction="block-identity"``.

    Raises:
        HarnessError: see ``harness.errors``; each names the cause and the fix.
    """
    compressor = compressors.get(method)
    config = configure(compressor.config, options, method)
    text = resolve_text(calibration.text, "calibration")
    return compress_model(
        subject,
        method,
        compressor,
        config,
        ratio,
        draw(text, subject.tokenizer, calibration),
        batch_size=batch_size,
        track=track,
    )


def evaluate(
    subject: LanguageModel,
    task: str,
    *,
    data: str | None = None,
    conditions: Conditions = Conditions(),  # noqa: B008
    **options: Any,
) -> TaskResult:
    """Measure ``subject``, dense or compressed, on one task.

    Args:
        subject: the model.
        task: a built-in task, any lm-eval task by name, or a task YAML.
        data: a local file or reference that replaces the task's own data.
        conditions: batch size, limit, seed.
        options: the task's own, e.g. ``window=1024``.

    Raises:
        HarnessError: see ``harness.errors``.
    """
    plugin = find_task(task)
    prepared = plugin.prepare(task, data, configure(plugin.config, options, task))
    return prepared.evaluate(subject, conditions)
