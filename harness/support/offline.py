"""One switch for all that could reach the network.

The environment holds it, so that worker processes and whatever an installer starts have it too.
``HARNESS_OFFLINE=1`` sets it before the package is used, ``offline()`` for a while.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SWITCH = "HARNESS_OFFLINE"
HUB = "HF_HUB_OFFLINE"
VARIABLES = (
    SWITCH,
    HUB,
    "HF_DATASETS_OFFLINE",
    "HF_EVALUATE_OFFLINE",
    "TRANSFORMERS_OFFLINE",
    "PIP_NO_INDEX",
    "UV_OFFLINE",
)
READ_AT_IMPORT = (
    ("huggingface_hub.constants", "HF_HUB_OFFLINE"),
    ("datasets.config", "HF_HUB_OFFLINE"),
    ("evaluate.config", "HF_EVALUATE_OFFLINE"),
)
"""What libraries made of their variables when they were imported."""
FIX = "'harness fetch' gets it where there is a network"


def is_offline() -> bool:
    """Whether nothing may be fetched."""
    return _is_true(os.environ.get(SWITCH))


def go_offline() -> None:
    """Fetch nothing from now on, in this process and in those it starts."""
    os.environ.update(dict.fromkeys(VARIABLES, "1"))
    for module, name in READ_AT_IMPORT:
        if module in sys.modules:
            setattr(sys.modules[module], name, True)


@contextmanager
def offline() -> Iterator[None]:
    """Fetch nothing for a while: what is not at hand is an ``AssetError``."""
    environment = {name: os.environ.get(name) for name in VARIABLES}
    flags = {
        (module, name): getattr(sys.modules[module], name)
        for module, name in READ_AT_IMPORT
        if module in sys.modules
    }
    go_offline()
    try:
        yield
    finally:
        for name, value in environment.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        for module, name in READ_AT_IMPORT:
            if module in sys.modules:
                flag = flags.get((module, name), _is_true(environment[HUB]))
                setattr(sys.modules[module], name, flag)


def _is_true(value: str | None) -> bool:
    return (value or "").upper() in {"1", "ON", "YES", "TRUE"}
