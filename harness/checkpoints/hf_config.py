"""The model type ``harness`` in transformers: the configuration of the original architecture."""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING, AutoConfig

from harness.checkpoints.format import NAME, read_layout


class SavedConfig(PretrainedConfig):
    """Opens as the configuration of the architecture that was compressed.

    The layout stays in its ``quantization_config``, from where ``hf_quantizer`` builds
    the layers.
    """

    model_type = NAME

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """The original architecture's configuration.

        Raises:
            UsageError: a newer harness saved the model.
            AssetError: the layout is damaged.
        """
        layout = read_layout(config_dict.get("quantization_config"))
        original = config_dict | {"model_type": layout.model_type}
        return CONFIG_MAPPING[layout.model_type].from_dict(original, **kwargs)


def register() -> None:
    """Tell ``AutoConfig``."""
    AutoConfig.register(NAME, SavedConfig, exist_ok=True)
