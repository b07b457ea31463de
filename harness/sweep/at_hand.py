"""Only what is on this machine already."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import datasets
from huggingface_hub import constants

OFFLINE = {"PIP_NO_INDEX": "1", "UV_OFFLINE": "1"}


@contextmanager
def nothing_fetched() -> Iterator[None]:
    """As if hub and package index were out of reach; what is not at hand is an ``AssetError``."""
    before = {name: os.environ.get(name) for name in OFFLINE}
    flags = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    os.environ.update(OFFLINE)
    constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = flags
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
