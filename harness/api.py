"""The harness from Python: load, compress, evaluate, save.

>>> import harness
>>> dense = harness.load_model("smollm2-135m")
>>> small = harness.compress(dense, "latentllm", ratio=0.3)
>>> print(small.compression.ratio_layers)
>>> print(harness.evaluate(small, "wiki-excerpt").metrics[0])
>>> harness.save(small, "small")
>>> again = harness.load("small")
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from harness.calibration.presets import TEXT_CALIBRATION
from harness.calibration.sources import draw, resolve_calibration
from harness.calibration.undrawn import Undrawn, undrawn_facts
from harness.checkpoints.load import load, load_model
from harness.checkpoints.save import save
from harness.compression.compressor import compressors
from harness.compression.job import CompressionJob
from harness.compression.pipeline import compress_model, reads_data
from harness.errors import unknown
from harness.evaluation.task import Conditions, find_task
from harness.latent.install import with_latent_cache
from harness.models.language_model import LanguageModel
from harness.models.non_finite import non_finite_explained
from harness.plugins.options import configure
from harness.records.results import TaskResult
from harness.records.spec import CacheForm, CalibrationSpec, Scope
from harness.support.progress import Tracker, silent

__all__ = ["compress", "evaluate", "load", "load_model", "save"]


def compress(
    subject: LanguageModel,
    method: str,
    ratio: float,
    *,
    calibration: CalibrationSpec = TEXT_CALIBRATION,
    scope: Scope = "language",
    batch_size: int = 8,
    cache: CacheForm = "expanded",
    block_checkpoints: Path | None = None,
    track: Tracker = silent,
    **options: Any,
) -> LanguageModel:
    """A copy of ``subject`` with ``ratio`` of its linear layers' parameters removed.

    Args:
        subject: a dense model; left untouched, shares what is not compressed, unless opened with
            ``offload``.
        method: a registered method, e.g. ``latentllm``.
        ratio: share to remove, ``0 <= ratio < 1``.
        calibration: which data the activation statistics come from, e.g.
            ``harness.calibration.sources.prompt_calibration("scienceqa")`` for questions with
            images.
        scope: which of the linear layers are compressed.
        batch_size: sequences per forward pass.
        cache: what a KV cache of the model stores; both give the same but for rounding, and
            exactly the same without a cache.
        block_checkpoints: folder for finished blocks, only for a model opened with ``offload``:
            that model is compressed in place, and interrupted, the same call goes on where it
            stopped. The result reads its blocks from there; remove the folder once it is saved.
        track: progress.
        options: the method's own, e.g. ``junction="block-identity"``.

    Raises:
        HarnessError: see ``harness.errors``; each names the cause and the fix.
    """
    if cache not in get_args(CacheForm):
        raise unknown("cache", cache, get_args(CacheForm))
    compressor = compressors.get(method)
    config = configure(compressor.config, options, method)
    source = resolve_calibration(calibration)
    with non_finite_explained(subject, ratio):
        undrawn = Undrawn(undrawn_facts(source), calibration)
        job = CompressionJob(method, compressor, config, ratio, undrawn, scope, batch_size)
        if reads_data(subject, job):
            drawn = draw(source, subject, calibration, batch_size=batch_size, track=track)
            job = replace(job, calibration=drawn)
        small = compress_model(subject, job, block_checkpoints=block_checkpoints, track=track)
    return with_latent_cache(small) if cache == "latent" else small


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
    with non_finite_explained(subject):
        return prepared.evaluate(subject, conditions)
