"""The record of one cell: enough to reproduce it and to compare it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.records.document import Document, digest
from harness.records.results import TaskResult
from harness.records.spec import RunSpec

SCHEMA_VERSION: Literal[1] = 1


Status = Literal["complete", "incomplete", "failed"]
"""``incomplete``: there is a result, but it skipped something."""


class ModelFacts(Document):
    """The model as it was loaded. ``fingerprint`` is the content hash or hub commit.

    ``image_processor`` is the class that prepares its images, None for a model of text only.
    ``macs`` are the multiply-accumulates of ``harness.layers.macs``, None if not counted.
    ``precision`` is the format of fewer bits that the weights had been rounded to before they were
    loaded, such as ``GGUF Q4_1``, None where they were not, as far as is known.
    """

    reference: str
    fingerprint: str
    family: str
    parameters: int
    bytes: int
    image_processor: str | None = None
    macs: int | None = None
    notes: tuple[str, ...] = ()
    precision: str | None = None

    @property
    def remarks(self) -> tuple[str, ...]:
        """The notes, and what the precision means for comparisons."""
        if self.precision is None:
            return self.notes
        meaning = (
            f"its weights lie on the grid of {self.precision}, so that rounding them to as few "
            "bits again costs less than it would on the weights as trained"
        )
        return (*self.notes, meaning)


class DataFacts(Document):
    """A text or data set as it was read.

    ``code`` names the files of the user's own code that a task runs, and of what this code reads;
    the fingerprint covers them. ``uncut`` is the fingerprint that the same file has as one
    document, as which calibration reads it; None where there is no such other reading.
    """

    reference: str
    fingerprint: str
    revision: str | None = None
    tokens: int | None = None
    code: tuple[str, ...] = ()
    uncut: str | None = None


class LayerFacts(Document):
    """One compressed linear layer.

    ``relative_loss`` is ``||(W - W_hat) C^1/2||^2 / ||W C^1/2||^2`` on the calibration
    statistics, None where the method read none; ``interpolation_bound`` the largest absolute
    entry of ``T`` in block-identity form, None in plain form.
    """

    name: str
    form: str
    shape: tuple[int, int]
    rank: int
    parameters: int
    relative_loss: float | None
    interpolation_bound: float | None


class CacheFacts(Document):
    """What the KV cache of a model asked to cache latents stores, in numbers a token.

    ``numbers`` counts all layers, ``rotation`` what is stored besides, once for all layers that
    share a window, ``dense`` what the uncompressed model stores. ``expanded`` says why a layer
    (by its dotted path) or, as ``*``, the whole family caches keys and values all the same.
    """

    numbers: int
    rotation: int
    dense: int
    expanded: dict[str, str]


class CompressionFacts(Document):
    """What the compression did. Ratios are shares of parameters removed; bytes as saved.

    ``macs`` are as in ``ModelFacts``, of the compressed model; ``cache`` is None where keys and
    values are cached as ever; ``calibrated`` says whether the result depends on the calibration.
    """

    label: str
    ratio_requested: float
    ratio_layers: float
    ratio_model: float
    parameters: int
    bytes: int
    macs: int | None = None
    layers: tuple[LayerFacts, ...]
    cache: CacheFacts | None = None
    calibrated: bool = True


class TrainingFacts(Document):
    """Training that a model went through after its compression, or may have.

    ``what`` is an ``adapter`` beside the weights, or the ``weights`` themselves, which
    ``save_pretrained`` wrote: whether they were changed is not known. ``trained_on`` names the data
    sets, None where nothing says. ``reference``, ``fingerprint`` and ``parameters`` are those of
    an adapter.
    """

    what: Literal["adapter", "weights"]
    trained_on: tuple[str, ...] | None = None
    reference: str | None = None
    fingerprint: str | None = None
    parameters: int | None = None

    @property
    def sentence(self) -> str:
        """In one line, for people."""
        on = ", ".join(self.trained_on) if self.trained_on else "unknown data"
        if self.what == "adapter":
            return f"with the adapter {self.reference}, trained on {on}"
        return f"its weights may have been trained after the compression, on {on}"


class Environment(Document):
    """Where it ran. ``commit`` and ``dirty`` describe a source checkout, None when installed.

    ``offloaded`` says whether the model's blocks were on disk, which changes time and memory but
    no result; None where that was not recorded. ``plugins`` is the code of others that took part,
    by what it is.
    """

    harness: str
    commit: str | None
    dirty: bool | None
    python: str
    platform: str
    packages: dict[str, str]
    device: str
    device_name: str
    threads: int
    offloaded: bool | None = None
    plugins: dict[str, str] = Field(default_factory=dict)


class RunRecord(Document):
    """The whole story of one cell.

    ``reference`` is the run id of the dense record measured under the same conditions;
    ``training`` is None where nothing was trained after the compression, as far as is known.
    ``timings`` are seconds by stage, ``peak_memory`` bytes by place (host, device).
    ``created`` is UTC in ISO 8601. ``digest`` is the SHA-256 of everything else.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    run_id: str
    status: Status
    error: str | None
    spec: RunSpec
    model: ModelFacts
    calibration: DataFacts | None
    compression: CompressionFacts | None
    data: DataFacts
    result: TaskResult | None
    reference: str | None
    environment: Environment
    training: TrainingFacts | None = None
    timings: dict[str, float]
    peak_memory: dict[str, int]
    created: str
    digest: str = ""

    @property
    def title(self) -> str:
        """The cell in a few words, for people."""
        spec = self.spec
        method = self.compression.label if self.compression else spec.method.name
        share = f" {spec.ratio:g}" if spec.calibration else ""
        healed = " trained" if self.training else ""
        return f"{spec.model} {method}{share}{healed} on {spec.task.name}"

    def content_digest(self) -> str:
        """SHA-256 of the record without its ``digest`` field."""
        return digest(self.model_dump(mode="json", exclude={"digest"}))

    def sealed(self) -> RunRecord:
        """The same record with its ``digest`` filled in."""
        return self.model_copy(update={"digest": self.content_digest()})
