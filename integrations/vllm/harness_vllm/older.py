"""Folders of format 1, which call their architecture ``harness``."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, PretrainedConfig

from harness_vllm.layout import refuse_older


class OlderConfig(PretrainedConfig):
    """Stands in for a configuration that vLLM could not read sizes from."""

    model_type = "harness"

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **_: Any) -> Any:
        """Say what to do with such a folder.

        Raises:
            ValueError: always.
        """
        del config_dict
        refuse_older()


def register_older() -> None:
    """Let transformers call us, so that the message is one that helps."""
    AutoConfig.register(OlderConfig.model_type, OlderConfig, exist_ok=True)
