"""What a model card says to programs: the front matter that model hubs read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from harness.checkpoints.resolve import HUB_ID
from harness.checkpoints.saved_record import SavedRecord
from harness.errors import AssetError
from harness.records.record import ModelFacts, RunRecord

_COMMIT = re.compile(r"[0-9a-f]{40}")
"""The fingerprint of a model of the hub; others have the SHA-256 of their files."""


def front_matter(saved: SavedRecord) -> str:
    """YAML, with the results as ``model-index`` where there are some."""
    results = list(eval_results(saved))
    data = ModelCardData(
        library_name="transformers",
        base_model=_on_the_hub(saved.origin.model),
        tags=["low-rank", "compressed", "harness"],
        model_name=model_name(saved) if results else None,
        eval_results=results or None,
    )
    return data.to_yaml()


def model_name(saved: SavedRecord) -> str:
    """What was compressed, how, and by how much."""
    return f"{saved.origin.model.reference}, {saved.compression.label} at {saved.origin.ratio:.0%}"


def eval_results(saved: SavedRecord) -> Iterator[EvalResult]:
    """The metrics over whole data of every complete evaluation, with all their digits."""
    kind = "image-text-to-text" if saved.origin.model.image_processor else "text-generation"
    for record in saved.records:
        if record.result is None or record.status != "complete":
            continue
        for metric in record.result.metrics:
            if metric.slice is None:
                yield EvalResult(
                    task_type=kind,
                    dataset_type=dataset_of(record),
                    dataset_name=record.data.reference,
                    metric_type=metric.name.partition("@")[0],
                    metric_name=metric.name,
                    metric_value=metric.value,
                )


def dataset_of(record: RunRecord) -> str:
    """What cards name the data by."""
    limit = record.spec.task.limit
    return f"{record.spec.task.name}, first {limit}" if limit else record.spec.task.name


def completed_card(card: str, saved: SavedRecord) -> str:
    """``card`` with the results of ``saved`` in its front matter, unless it has some.

    Raises:
        AssetError: its front matter cannot be read.
    """
    results = list(eval_results(saved))
    parsed = _parsed(card)
    data: Any = parsed.data
    if data.eval_results or not results:
        return card
    data.eval_results = results
    data.model_name = data.model_name or model_name(saved)
    return str(parsed)


def claimed_by(card: str) -> list[EvalResult]:
    """The results in the front matter of ``card``.

    Raises:
        AssetError: it cannot be read.
    """
    data: Any = _parsed(card).data
    return data.eval_results or []


def _parsed(card: str) -> ModelCard:
    try:
        return ModelCard(card)
    # YAML's errors, and those of whatever stands in the place of what the library expects.
    except Exception as error:
        raise AssetError(
            f"the front matter of the model card cannot be read ({' '.join(str(error).split())}); "
            "correct README.md, or delete it to have it written anew"
        ) from error


def _on_the_hub(model: ModelFacts) -> str | None:
    """The repository of ``model``, None for one that is from elsewhere."""
    match = HUB_ID.fullmatch(model.reference)
    return match["repository"] if match and _COMMIT.fullmatch(model.fingerprint) else None
