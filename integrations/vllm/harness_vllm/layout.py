"""What ``quantization_config`` of a saved folder says about its layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

FORMAT = 2


@dataclass(frozen=True)
class StoredLayer:
    """One linear layer: its form, and the sizes of what is stored.

    Attributes:
        form: names a module of ``harness_vllm.forms``.
        d_in, d_out: of the dense layer.
        rank: inner dimension, or neurons that are kept.
        bias: whether one is stored.
        heads: parts of the output with an identity block each, for ``head-identity`` alone.
    """

    form: str
    d_in: int
    d_out: int
    rank: int
    bias: bool
    heads: int | None = None


def read_layers(content: Mapping[str, Any]) -> dict[str, StoredLayer]:
    """The layers by dotted path.

    Raises:
        ValueError: another format, or one that is damaged.
    """
    version = content.get("format")
    if version == 1:
        refuse_older()
    if version != FORMAT:
        raise ValueError(
            f"the model was saved in format {version}, harness-vllm reads {FORMAT}; upgrade "
            "harness-vllm"
        )
    try:
        return {layer["path"]: _stored(layer) for layer in content["layers"]}
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"config.json of the saved model is damaged (quantization_config layers: {error}); "
            "copy the model again"
        ) from error


def refuse_older() -> NoReturn:
    """Raise for a folder of format 1."""
    raise ValueError(
        "the model was saved in format 1, harness-vllm reads 2; open it with today's harness and "
        "save it again: harness.save(harness.load(FOLDER), NEW)"
    )


def _stored(layer: Mapping[str, Any]) -> StoredLayer:
    return StoredLayer(**{key: value for key, value in layer.items() if key != "path"})
