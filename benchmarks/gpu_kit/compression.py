"""A whole compression: seconds by stage, and the most memory it took."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from vision_shapes import tokenizer_with
from whole_compression import STAGES, race

from gpu_kit.budget import Unit
from gpu_kit.report import Row
from gpu_kit.speed import now
from gpu_kit.subjects import Subject, tokens
from harness.assets.kinds import ModelAsset
from harness.calibration.text import TextCalibration
from harness.models.language_model import LanguageModel
from harness.profile.memory import peak, reset_peak
from harness.records.record import DataFacts

METHODS = ("latentllm", "asvd-rootcov")
RATIO = 0.3


def units(
    chosen: Sequence[Subject], device: torch.device, *, sequences: int, length: int
) -> Iterator[Unit]:
    for method in METHODS:
        for subject in chosen:
            title = f"{subject.name}, {subject.blocks} blocks, {method}"
            yield Unit(
                title,
                partial(_subject, subject, device),
                [(title, partial(_row, subject, method, sequences, length))],
            )


def _subject(subject: Subject, device: torch.device) -> LanguageModel:
    model, family = subject.dense(device)
    asset = ModelAsset(subject.name, Path(), "0" * 64)
    return LanguageModel(model, tokenizer_with(), family, asset)


def _row(subject: Subject, method: str, sequences: int, length: int, dense: LanguageModel) -> Row:
    device = dense.model.device
    ids = tokens(dense.model, sequences, length).cpu()
    facts = DataFacts(reference="random tokens", fingerprint="0" * 64)
    calibration = TextCalibration(ids, torch.ones_like(ids), facts)
    options = argparse.Namespace(propagation="sequential", batch=8, ratio=RATIO)
    reset_peak(device)
    times = race(dense, method, options, calibration, partial(now, device))
    return {
        "model": subject.name,
        "blocks": subject.blocks,
        "method": method,
        "removed": RATIO,
        "tokens": ids.numel(),
        "seconds": times.whole,
        "dense pass s": times.dense,
        "of the passes it needs": times.whole / times.passes("sequential"),
        "peak bytes": peak(device),
        **{f"{STAGES[name]} s": seconds for name, seconds in times.stages.items()},
    }
