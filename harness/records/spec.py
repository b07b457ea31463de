"""What to run: one cell of a comparison, complete enough to repeat it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from harness.errors import UsageError
from harness.records.document import Document, digest

DENSE = "dense"
"""Method name of the uncompressed reference."""

Option = bool | int | float | str | tuple[str, ...] | None
Ratio = Annotated[float, Field(ge=0, lt=1)]
Scope = Literal["language", "vision", "all"]
"""Which linear layers are compressed: the decoder's, the vision tower's, or both."""
Dtype = Literal["float32", "bfloat16", "float16", "float64"]
CacheForm = Literal["expanded", "latent"]
"""What a KV cache stores: keys and values, or the latents they are expanded from."""


def require_ratio(ratio: float) -> None:
    """Raise ``UsageError`` unless ``0 <= ratio < 1``."""
    if not 0 <= ratio < 1:
        raise UsageError(f"ratio {ratio:g} is outside 0 <= ratio < 1; 0.3 removes 30%")


class MethodSpec(Document):
    """A compressor by its registered name, with every option spelled out."""

    name: str
    options: dict[str, Option] = Field(default_factory=dict)


class CalibrationSpec(Document):
    """Which data the statistics come from: ``samples`` sequences of ``length`` tokens.

    ``sampling`` is ``windows`` (disjoint windows of the joined text), ``documents`` (a random
    stretch of a random document long enough, the protocol of SparseGPT and its successors), or
    ``prompts`` (whole questions with their images and answers, of any length, from the training
    split of the task that ``text`` names). ``self_samples`` more sequences of ``length`` tokens are
    written by the model itself, each behind a token of the text.
    """

    text: str
    samples: Annotated[int, Field(ge=1)]
    length: Annotated[int, Field(ge=2)] | None
    sampling: Literal["windows", "documents", "prompts"] = "windows"
    seed: int = 0
    self_samples: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _prompts_are_whole(self) -> Self:
        if (self.sampling == "prompts") != (self.length is None):
            raise ValueError("calibration prompts are taken whole, texts need a length")
        if self.length is None and self.self_samples:
            raise ValueError("a model writes texts of its own, no calibration questions")
        return self


class TaskSpec(Document):
    """What is measured; ``data`` replaces the task's own data by a local file or a reference."""

    name: str
    data: str | None = None
    limit: Annotated[int, Field(ge=1)] | None = None
    options: dict[str, Option] = Field(default_factory=dict)


class RunSpec(Document):
    """One cell: a model, a method at a ratio, calibration data, a task.

    ``ratio`` is the share of parameters removed from the linear layers within ``scope``.
    The dense reference has method ``dense``, ratio 0 and no calibration.
    """

    model: str
    method: MethodSpec
    ratio: Ratio
    calibration: CalibrationSpec | None
    task: TaskSpec
    scope: Scope = "language"
    dtype: Dtype = "float32"
    seed: int = 0

    def run_id(self, *fingerprints: str) -> str:
        """Name of the cell's record: hash of this spec and of the content it reads.

        Args:
            fingerprints: content hashes of the model, the calibration text, the task's data.
        """
        return digest([self.model_dump(mode="json"), *fingerprints])[:16]
