"""The model type ``harness`` in transformers, by which folders of format 1 call themselves."""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING, AutoConfig

from harness.checkpoints.format import NAME, original_type, read_layout
from harness.errors import AssetError


class SavedConfig(PretrainedConfig):
    """Opens as the configuration of the architecture that was compressed."""

    model_type = NAME

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """The original architecture's configuration, with the layout in today's format.

        Raises:
            UsageError: a newer harness saved the model.
            AssetError: the layout is damaged.
        """
        layout = read_layout(config_dict.get("quantization_config"))
        model_type = original_type(config_dict)
        if not isinstance(model_type, str) or model_type not in CONFIG_MAPPING:
            raise AssetError(
                "config.json of the saved model is damaged (it names no architecture); copy the "
                "model again"
            )
        original = config_dict | {
            "model_type": model_type,
            "quantization_config": layout.model_dump(mode="json"),
        }
        return CONFIG_MAPPING[model_type].from_dict(original, **kwargs)


def register() -> None:
    """Tell ``AutoConfig``."""
    AutoConfig.register(NAME, SavedConfig, exist_ok=True)
