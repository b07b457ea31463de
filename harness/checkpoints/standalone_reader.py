"""How transformers opens a saved model where harness is not installed.

With ``trust_remote_code=True`` transformers imports a copy of this, see ``standalone``, and lets
the class that ``auto_map`` names open the folder. That one does what the auto class of its name
does, once transformers knows how the layers are stored. KV caches hold keys and values.
"""

from __future__ import annotations

from typing import Any

import transformers
from torch import nn
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING, AUTO_QUANTIZER_MAPPING
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from harness.layers.install import inner_prefix, install_layers, make_runnable, set_trainable
from harness.layers.shapes import LayerShape


class StoredLayers(QuantizationConfigMixin):
    """The layout in ``config.json``."""

    def __init__(self, **content: Any) -> None:
        self.content = content
        self.quant_method = content["quant_method"]

    def to_dict(self) -> dict[str, Any]:
        """What ``config.json`` holds."""
        return dict(self.content)

    def shapes(self) -> dict[str, LayerShape]:
        """The forms and the sizes of the layers, by path."""
        layers = [dict(layer) for layer in self.content["layers"]]
        return {layer.pop("path"): LayerShape(**layer) for layer in layers}


class StoredLayersQuantizer(HfQuantizer):
    """Swaps layers on the meta device; derives what is not stored once tensors are there."""

    quantization_config: Any  # has ``shapes``, as StoredLayers does
    is_trainable = True
    is_qat_trainable = True
    is_compileable = True

    def update_attn_implementation(self, config: Any) -> Any:
        """The last that transformers asks before it looks for weights: by their own names."""
        config.__dict__.pop("transformers_weights", None)
        return config

    def update_weight_conversions(self, weight_conversions: Any, model: Any) -> list[Any]:  # noqa: ARG002
        """None: tensors lie under the names that modules have, not under older ones."""
        return []

    def _process_model_before_weight_loading(self, model: Any, **_: Any) -> None:
        install_layers(model, self.quantization_config.shapes(), inner_prefix(model))

    def _process_model_after_weight_loading(self, model: nn.Module, **_: Any) -> None:
        make_runnable(model)
        set_trainable(model, trainable=True)  # like every other weight that transformers opens

    def is_serializable(self) -> bool:
        """Not without what makes the folder loadable."""
        return False


class Opened:
    """Opens a saved model as the auto class of transformers that has its name."""

    @classmethod
    def from_pretrained(cls, folder: str, *arguments: Any, **options: Any) -> Any:
        """The configuration or model, of one of transformers' own classes."""
        opener = getattr(transformers, cls.__name__)
        return opener.from_pretrained(folder, *arguments, **options | {"trust_remote_code": False})

    @classmethod
    def register_for_auto_class(cls, auto_class: Any = None) -> None:
        """Nothing to remember: what ``from_pretrained`` returns is of another class."""


class AutoConfig(Opened):
    """Sizes alone; lm-eval, for one, asks how layers are stored before it opens a model."""


class AutoModel(Opened):
    """Without a head."""


class AutoModelForCausalLM(Opened):
    """With a head for the next token."""


class AutoModelForImageTextToText(Opened):
    """The same for models that see."""


class AutoModelForSequenceClassification(Opened):
    """With a head to be trained."""


def register() -> None:
    """Tell transformers, unless harness has."""
    known = AUTO_QUANTIZER_MAPPING.get("harness")
    if known is None or not known.__module__.startswith("harness."):
        AUTO_QUANTIZATION_CONFIG_MAPPING["harness"] = StoredLayers
        AUTO_QUANTIZER_MAPPING["harness"] = StoredLayersQuantizer
