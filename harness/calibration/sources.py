"""Where calibration data comes from: a text, or the training split of a task."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from harness.assets.kinds import TextAsset
from harness.assets.texts import resolve_text
from harness.calibration.presets import PROMPT_SAMPLES, TEXT_CALIBRATION
from harness.calibration.prompts import draw_prompts
from harness.calibration.self_generated import generate
from harness.calibration.text import Calibration, draw_text
from harness.errors import UsageError
from harness.evaluation.task import Trained, find_task, tasks
from harness.models.language_model import LanguageModel
from harness.models.positions import require_positions
from harness.models.prompt import PromptSource
from harness.offload.hooks import is_offloaded
from harness.records.spec import CalibrationSpec
from harness.support.progress import Tracker, silent


def default_calibration(
    task: str,
    *,
    text: CalibrationSpec = TEXT_CALIBRATION,
    samples: int | None = None,
    seed: int = 0,
) -> CalibrationSpec:
    """What a compression measured by ``task`` is calibrated on unless the user says otherwise.

    Questions with images: the task's own training split. All else: ``text``.
    """
    if isinstance(find_task(task), Trained):
        return prompt_calibration(task, samples or PROMPT_SAMPLES, seed)
    return text.model_copy(update={"samples": samples or text.samples, "seed": seed})


def prompt_calibration(
    reference: str, samples: int = PROMPT_SAMPLES, seed: int = 0
) -> CalibrationSpec:
    """``samples`` questions of the training split that ``reference`` names."""
    return CalibrationSpec(
        text=reference, samples=samples, length=None, sampling="prompts", seed=seed
    )


def chosen_calibration(
    reference: str | None,
    *,
    samples: int | None = None,
    length: int | None = None,
    self_samples: int = 0,
    seed: int = 0,
    text: CalibrationSpec = TEXT_CALIBRATION,
) -> CalibrationSpec | Callable[[str], CalibrationSpec]:
    """The calibration that a person asks for, for all tasks or for each by name.

    Args:
        reference: a text, or a task with a training split; None leaves it to each task
            (see ``default_calibration``).
        samples: sequences or questions, None for as many as is usual.
        length: tokens of each sequence of a text, None for that of ``text``.
        self_samples: more sequences that the model writes.
        seed: of the draw.
        text: the defaults for texts.

    Raises:
        UsageError: questions with a length or sequences of the model's own.
    """
    if reference is not None and names_prompts(reference):
        for option, value in (("length", length), ("self_samples", self_samples)):
            if value:
                raise UsageError(f"calibration questions are taken whole; remove '{option}'")
        return prompt_calibration(reference, samples or PROMPT_SAMPLES, seed)
    text = text.model_copy(update={"length": length or text.length, "self_samples": self_samples})
    if reference is None:
        return partial(default_calibration, text=text, samples=samples, seed=seed)
    return text.model_copy(
        update={
            "text": reference,
            "samples": samples or text.samples,
            "sampling": "windows",
            "seed": seed,
        }
    )


def names_prompts(reference: str) -> bool:
    """Whether ``reference`` (``TASK`` or ``TASK=DATA``) is a task with a training split."""
    name = reference.partition("=")[0]
    return name in tasks.names() and isinstance(tasks.get(name), Trained)


def resolve_calibration(spec: CalibrationSpec) -> TextAsset | PromptSource:
    """Find the data ``spec`` is drawn from, fetching it if need be.

    Raises:
        UsageError: the reference is malformed or names nothing.
        AssetError: the data cannot be had; says what to pass instead.
    """
    if spec.sampling != "prompts":
        return resolve_text(spec.text, "calibration")
    name, _, data = spec.text.partition("=")
    task = find_task(name)
    if not isinstance(task, Trained):
        raise UsageError(f"task '{name}' has no training split to calibrate on; pass a text")
    return task.training(name, data or None)


def draw(
    source: TextAsset | PromptSource,
    subject: LanguageModel,
    spec: CalibrationSpec,
    *,
    batch_size: int = 8,
    track: Tracker = silent,
) -> Calibration:
    """The samples ``spec`` asks for, as inputs of ``subject``, and those that it writes itself.

    Raises:
        NonFiniteError: the model cannot write, its predictions are NaN or infinite.
        UsageError: the data holds less than asked, sequences are longer than the model has
            positions, or the model that shall write is on disk.
    """
    if isinstance(source, PromptSource):
        return draw_prompts(source, subject, spec)
    assert spec.length is not None
    require_positions(subject.model.config, subject.asset.reference, spec.length)
    drawn = draw_text(source, subject.tokenizer, spec)
    if not spec.self_samples:
        return drawn
    if is_offloaded(subject.model):
        raise UsageError(
            "--self-samples reads the whole model once a token, of which --offload keeps one "
            "block in memory; leave out either"
        )
    generator = torch.Generator().manual_seed(spec.seed)
    tokens = drawn.input_ids.flatten()
    first = tokens[torch.randint(len(tokens), (spec.self_samples,), generator=generator)]
    written = generate(
        subject.model, first, spec.length, generator, batch_size=batch_size, track=track
    )
    return drawn.with_generated(written)
