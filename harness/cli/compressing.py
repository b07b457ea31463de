"""Options of every command that compresses: which model, by what, calibrated on what."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, get_args

import torch

from harness.assets.aliases import DEFAULT_MODEL
from harness.calibration import (
    PROMPT_SAMPLES,
    TEXT_CALIBRATION,
    default_calibration,
    names_prompts,
    prompt_calibration,
)
from harness.compressor import Compressor
from harness.errors import UsageError
from harness.registry import Registry
from harness.spec import CalibrationSpec, Dtype, Scope
from harness.task import Task

DEFAULT_METHOD = "latentllm"
DEFAULT_RATIO = 0.3


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """The model, and where and how it is computed with."""
    add = parser.add_argument
    add(
        "--model",
        default=DEFAULT_MODEL,
        help="alias, builtin:NAME, hub id, folder, .gguf file, or pypi: file",
    )
    add(
        "--batch-size",
        type=int,
        default=8,
        help="sequences per forward pass; halved when memory runs out",
    )
    add(
        "--device",
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="torch device, or auto for several",
    )
    add(
        "--offload",
        action="store_true",
        help="leave the model on disk and keep one block in memory at a time",
    )
    add("--dtype", choices=get_args(Dtype), default="float32", help="of weights and activations")
    add("--seed", type=int, default=0, help="of calibration sampling and evaluation")


def add_calibration_options(parser: argparse.ArgumentParser) -> None:
    """What the statistics are taken over, and which layers are compressed by them."""
    add = parser.add_argument
    calibration = TEXT_CALIBRATION
    add(
        "--calibration",
        metavar="DATA",
        default=argparse.SUPPRESS,
        help="text (alias, file, hub dataset) or a task with questions for its training split, "
        f"TASK=DATA for one's own (default: that of the task, for texts {calibration.text})",
    )
    add(
        "--samples",
        type=int,
        default=argparse.SUPPRESS,
        help=f"calibration sequences (default: {calibration.samples}, "
        f"of questions {PROMPT_SAMPLES})",
    )
    add(
        "--length",
        type=int,
        default=argparse.SUPPRESS,
        help=f"tokens per sequence of a calibration text (default: {calibration.length})",
    )
    add(
        "--scope",
        choices=get_args(Scope),
        default="language",
        help="compress the decoder, the vision tower, or both",
    )


def require_counts(given: Mapping[str, Any]) -> None:
    """Raise ``UsageError`` where a number of ``given`` options is too small."""
    for name, least in {"samples": 1, "length": 2, "batch_size": 1, "limit": 1}.items():
        if (number := given.get(name)) is not None and number < least:
            flag = name.replace("_", "-")
            raise UsageError(f"--{flag} must be at least {least}, got {number}")


def chosen_calibration(
    given: Mapping[str, Any], text: CalibrationSpec = TEXT_CALIBRATION
) -> CalibrationSpec | Callable[[str], CalibrationSpec]:
    """The calibration asked for, for all tasks or for each by name; ``text`` has the defaults."""
    samples, seed = given.get("samples"), given["seed"]
    reference = given.get("calibration")
    if reference and names_prompts(reference):
        if "length" in given:
            raise UsageError("--length is for texts; calibration questions are taken whole")
        return prompt_calibration(reference, samples or PROMPT_SAMPLES, seed)
    changes = {"length": given.get("length", text.length)}
    if reference:
        changes |= {"text": reference, "sampling": "windows"}
    text = text.model_copy(update=changes)
    if reference:
        return text.model_copy(update={"samples": samples or text.samples, "seed": seed})
    return partial(default_calibration, text=text, samples=samples, seed=seed)


def usable_device(device: str) -> str:
    """``device`` if it can be computed on, else a ``UsageError``."""
    if device == "auto":
        return device
    try:
        torch.zeros(1, device=device).item()  # the meta device has no values
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f"device '{device}' cannot be used here; pass --device cpu") from error
    return device


def option_classes(registry: Registry[Compressor] | Registry[Task]) -> dict[str, type[Any]]:
    """Options of every plugin that loads; a broken one raises its error only when chosen."""
    found: dict[str, type[Any]] = {}
    for name in registry.names():
        with suppress(UsageError):
            found[name] = registry.get(name).config
    return found
