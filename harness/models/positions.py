"""How many tokens a model sees at most."""

from __future__ import annotations

from typing import Any

from harness.errors import UsageError


def positions(config: Any) -> int | None:
    """Of the decoder that a transformers ``config`` describes; None for no limit."""
    decoder = config.get_text_config()
    limit: int | None = getattr(decoder, "max_position_embeddings", None)
    return limit


def require_positions(config: Any, reference: str, length: int) -> None:
    """Refuse calibration sequences that the model called ``reference`` cannot see whole.

    Raises:
        UsageError: they have more tokens than it has positions.
    """
    limit = positions(config)
    if limit is not None and length > limit:
        raise UsageError(
            f"{reference} sees at most {limit} tokens, not {length}; pass --length {limit}"
        )
