"""What ``config.json`` of a saved model says about its layers.

The architecture's own configuration stays as it is, but for two keys: ``model_type`` is
``harness``, so that software that does not know the format refuses it instead of filling layers
with random numbers, and ``quantization_config``, where transformers and other engines look for
how linear layers are stored, holds a ``Layout``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationError

from harness.errors import AssetError, UsageError
from harness.records.document import Document
from harness.records.spec import CacheForm

NAME: Literal["harness"] = "harness"
FORMAT: Literal[1] = 1


class SavedLayer(Document):
    """One linear layer in factor form: where it is, and the sizes of its tensors.

    ``path`` is dotted; that of a part of a fused projection lies below the projection's.
    ``heads`` is for head-identity alone.
    """

    path: str
    form: str
    d_in: int
    d_out: int
    rank: int
    bias: bool
    heads: int | None = None


class Layout(Document):
    """How to build a model of type ``model_type`` that the saved tensors fit."""

    quant_method: Literal["harness"] = NAME
    format: Literal[1] = FORMAT
    model_type: str
    cache: CacheForm = "expanded"
    layers: tuple[SavedLayer, ...] = Field(min_length=1)


def read_layout(content: Any) -> Layout:
    """The layout in a configuration.

    Raises:
        UsageError: a newer harness wrote it.
        AssetError: it is damaged.
    """
    require_known(content)
    try:
        return Layout.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise AssetError(
            f"config.json of the saved model is damaged (quantization_config {where}: "
            f"{first['msg'].lower()}); copy the model again"
        ) from error


def require_known(content: Any) -> None:
    """Raise ``UsageError`` if ``content`` is of a format that came after this one."""
    version = content.get("format") if isinstance(content, Mapping) else None
    if isinstance(version, int) and version > FORMAT:
        raise UsageError(
            f"the model was saved in format {version}, this harness reads {FORMAT}; upgrade harness"
        )
