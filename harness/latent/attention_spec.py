"""What a latent attention must know of the one that it replaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.errors import UsageError


@dataclass(frozen=True)
class AttentionSpec:
    """Names of the submodules of an attention and how its rows split into heads.

    ``layers`` is the number of layers of the decoder, and so of a cache.
    """

    query: str
    key: str
    value: str
    output: str
    query_norm: str | None
    key_norm: str | None
    rotated: bool
    heads: int
    kv_heads: int
    layers: int


def uses_sdpa(config: Any) -> bool:
    """Whether a model attends by sdpa, else eagerly.

    Raises:
        UsageError: by neither.
    """
    implementation = config._attn_implementation  # noqa: SLF001
    if implementation not in {"sdpa", "eager"}:
        raise UsageError(
            f"latent attention does not run with attention implementation '{implementation}'; "
            "use sdpa or eager, or the expanded cache"
        )
    return implementation == "sdpa"
