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

Seed = Annotated[int, Field(ge=0, le=SEED)]
BatchSize = Annotated[int, Field(ge=1, le=SIZE)]
Limit = Annotated[int, Field(ge=1, le=SIZE)]
Samples = Annotated[int, Field(ge=1, le=SIZE)]
SelfSamples = Annotated[int, Field(ge=0, le=SIZE)]
Length = Annotated[int, Field(ge=2, le=SIZE)]
Window = Annotated[int, Field(ge=2, le=SIZE)]
