"""What ``config.json`` of a saved model says about its layers.

The architecture's own configuration stays as it is, ``model_type`` and sizes included, so that
every reader of configurations finds what it looks for. Two keys are added: ``quantization_config``,
where transformers and other engines look for how linear layers are stored, holds a ``Layout``, and
``NAMED`` names a file that is not there: transformers skips a quantisation method that it does not
know and would fill the layers with random numbers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeGuard

from pydantic import Field, ValidationError

from harness.errors import AssetError, UsageError
from harness.records.document import Document
from harness.records.spec import CacheForm

NAME: Literal["harness"] = "harness"
FORMAT: Literal[2] = 2


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
    """How to make layers that the saved tensors fit.

    ``retrained`` is there where ``save_pretrained`` of transformers wrote the folder, after which
    nothing measured or sealed before holds: the saved record without what no longer does.
    """

    quant_method: Literal["harness"] = NAME
    format: Literal[2] = FORMAT
    cache: CacheForm = "expanded"
    layers: tuple[SavedLayer, ...] = Field(min_length=1)
    retrained: dict[str, Any] | None = None


def is_layout(content: Any) -> TypeGuard[Mapping[str, Any]]:
    """Whether the ``quantization_config`` ``content`` is one of ours, of whatever format."""
    return isinstance(content, Mapping) and content.get("quant_method") == NAME


def is_retrained(folder: Path) -> bool:
    """Whether ``save_pretrained`` of transformers wrote the saved model in ``folder``."""
    return retrained_record(folder) is not None


def retrained_record(folder: Path) -> Any:
    """The record that ``save_pretrained`` of transformers kept, None where it did not write."""
    try:
        content = json.loads((folder / "config.json").read_text("utf-8"))
        return content["quantization_config"].get("retrained")
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return None


def original_type(config: Mapping[str, Any]) -> Any:
    """The ``model_type`` of the architecture in the ``config.json`` of a saved model.

    In format 1 it stood in the layout, and ``harness`` in its place.
    """
    if config.get("model_type") != NAME:
        return config.get("model_type")
    layout = config.get("quantization_config")
    return layout.get("model_type") if is_layout(layout) else None


def read_layout(content: Any) -> Layout:
    """The layout in a configuration.

    Raises:
        UsageError: a newer harness wrote it.
        AssetError: it is damaged.
    """
    require_known(content, FORMAT)
    if is_layout(content) and content.get("format") == 1:
        content = {key: value for key, value in content.items() if key != "model_type"}
        content["format"] = FORMAT
    try:
        return Layout.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise AssetError(
            f"config.json of the saved model is damaged (quantization_config {where}: "
            f"{first['msg'].lower()}); copy the model again"
        ) from error


def require_known(content: Any, newest: int) -> None:
    """Raise ``UsageError`` if ``content`` is of a format that came after ``newest``."""
    version = content.get("format") if isinstance(content, Mapping) else None
    if isinstance(version, int) and version > newest:
        raise UsageError(
            f"the model was saved in format {version}, this harness reads {newest}; upgrade harness"
        )
