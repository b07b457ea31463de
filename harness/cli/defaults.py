"""What a command that compresses does unless it is told otherwise."""

from typing import Literal

DEFAULT_METHOD = "latentllm"
DEFAULT_RATIO = 0.3

Kind = Literal["method", "task"]
"""What has options of its own on the command line."""
