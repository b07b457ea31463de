"""The paper's own numbers, and where one may stand beside a measured one."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from harness.records.spec import DENSE
from leaderboards.slices import WHOLE

PERPLEXITY = "perplexity_token@2048"
"""Our metric that is the paper's perplexity, which is over windows of 2048 tokens."""

ACCURACIES = {
    "scienceqa": re.compile(r"accuracy\[.*\]"),
    "textvqa": re.compile(r"vqa_accuracy\[.*\bocr=off\b.*\]"),
}
"""Our metric that is the paper's accuracy on a task, as far as the paper says what that is."""

UNCERTAIN = (
    "The paper does not say which prompt, answer parser and number of new tokens its accuracies "
    "come from, nor whether TextVQA's prompts held OCR tokens; they stand beside ours with any "
    "parser and without OCR tokens."
)

CONVERTED = {"llava-v1.6-vicuna-7b-hf": "LLaVA-7B"}
"""The paper's name for the same weights stored in the form of transformers."""


@dataclass(frozen=True)
class Published:
    """A printed value, in the paper's unit; ``table`` says where it is printed."""

    value: float
    metric: str
    table: str


def published(
    model: str, method: str, ratio: float, task: str, part: str | None = None
) -> Published | None:
    """What the paper prints, under the paper's own model names.

    Args:
        model: e.g. ``OPT-125M``.
        method: a method's name without any junction, or ``dense`` with ratio 0.
        ratio: share of parameters removed.
        task: e.g. ``wikitext2``.
        part: slice of a task that the paper reports in slices; ``Avg`` or None is the whole.
    """
    return _index().get((model, method, round(ratio, 6), task, None if part == WHOLE else part))


def beside(
    reference: str, label: str, ratio: float, task: str, metric: str, part: str | None = None
) -> float | None:
    """The printed value that is comparable with a measured one, if there is one, in our unit.

    A label with options in brackets differs from the paper's form of that method, hence matches
    nothing.

    Args:
        reference: model reference as in a record, with or without a hub revision.
        label: method label as in a record, ``dense`` for the uncompressed model.
        ratio: share of parameters removed.
        task: task name.
        metric: metric name with its protocol.
        part: slice of the task, None for the whole.
    """
    model = paper_model(reference)
    printed = published(model, label, ratio, task, part) if model else None
    if printed and printed.metric == "perplexity_token" and metric == PERPLEXITY:
        return printed.value
    if printed and printed.metric == "accuracy" and ACCURACIES[task].fullmatch(metric):
        return printed.value / 100
    return None


def curve(reference: str, label: str, task: str, metric: str) -> list[tuple[float, float]]:
    """All ratios at which the paper prints a value comparable with ours, and the values.

    Args:
        reference: model reference as in a record.
        label: method label as in a record.
        task: task name.
        metric: metric name with its protocol.
    """
    ratios = sorted({ratio for _, method, ratio, _, _ in _index() if method == label})
    values = ((ratio, beside(reference, label, ratio, task, metric)) for ratio in ratios)
    return [(ratio, value) for ratio, value in values if value is not None]


def paper_model(reference: str) -> str | None:
    """The paper's name of a model, by the last part of its reference, whatever its revision."""
    path = reference.partition("@")[0].rstrip("/")
    return _models().get(path.rpartition("/")[2].casefold())


def source() -> str:
    """Where the published values come from."""
    return str(_document()["source"])


@cache
def _document() -> dict[str, Any]:
    text = files("leaderboards").joinpath("published.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    return document


@cache
def _index() -> dict[tuple[str, str, float, str, str | None], Published]:
    dense = [{"method": DENSE, "ratio": 0.0, **row} for row in _document()["dense"]]
    return {
        (row["model"], row["method"], row["ratio"], row["task"], _part(row)): Published(
            row["value"], row["metric"], row["table"]
        )
        for row in [*dense, *_document()["compressed"]]
    }


def _part(row: dict[str, Any]) -> str | None:
    name: str | None = row.get("slice")
    return None if name == WHOLE else name


@cache
def _models() -> dict[str, str]:
    aliases: dict[str, str] = _document()["notes"]["models"]
    names = {row["model"] for row in _document()["dense"]}
    ours = {aliases.get(name, name).rpartition("/")[2].casefold(): name for name in names}
    return ours | CONVERTED
