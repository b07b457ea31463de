"""Which releases of vLLM the package is written for."""

from __future__ import annotations

import re

SUPPORTED = (0, 32)


def require_supported(version: str) -> None:
    """Raise unless ``version`` of vLLM is one whose inner workings are known here.

    Raises:
        ValueError: it is older or newer, or cannot be told.
    """
    found = re.match(r"(\d+)\.(\d+)", version)
    if found is None or (int(found[1]), int(found[2])) != SUPPORTED:
        wanted = ".".join(map(str, SUPPORTED))
        raise ValueError(
            f"harness-vllm serves compressed models with vLLM {wanted}, here is {version}; install "
            f"'vllm=={wanted}.*', or the harness-vllm that is for yours"
        )
