"""What vLLM calls in each of its processes before it looks at a model."""

from __future__ import annotations


def register() -> None:
    """Tell vLLM how layers of a folder with ``quant_method: harness`` are stored."""
    from vllm.model_executor.layers.quantization import register_quantization_config  # noqa: PLC0415

    from harness_vllm.config import HarnessConfig  # noqa: PLC0415
    from harness_vllm.older import register_older  # noqa: PLC0415

    register_quantization_config("harness")(HarnessConfig)
    register_older()
