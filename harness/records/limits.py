"""How big the numbers of a request may be; what records hold is checked no further.

The upper ends are no promise that a machine can do it: beyond them no machine can, and the
libraries below fail with a message of their own, or run for ever.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

SIZE = 10**9
SEED = 2**32 - 1
"""The biggest seed that numpy and torch both take."""

Count = Annotated[int, Field(ge=1, le=SIZE)]
BatchSize = Count
Limit = Count
Samples = Count
SelfSamples = Annotated[int, Field(ge=0, le=SIZE)]
Length = Annotated[int, Field(ge=2, le=SIZE)]
"""Tokens of a window: one token alone predicts nothing."""
Seed = Annotated[int, Field(ge=0, le=SEED)]
Repetitions = Annotated[int, Field(ge=1, le=10_000)]
Temperature = Annotated[float, Field(ge=0, le=1000)]
Effect = Annotated[float, Field(gt=0, lt=1)]
"""A relative loss, or a difference of shares."""
