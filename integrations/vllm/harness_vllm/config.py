"""Our format as one of vLLM's methods of quantisation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import regex as re
import torch
from vllm import __version__
from vllm.model_executor.layers.linear import LinearBase, UnquantizedLinearMethod
from vllm.model_executor.layers.quantization.base_config import (
    QuantizationConfig,
    QuantizeMethodBase,
)
from vllm.model_executor.models.utils import WeightsMapper

from harness_vllm.layout import StoredLayer, read_layers
from harness_vllm.version import require_supported

RENAMED = WeightsMapper(
    orig_to_new_regex={
        re.compile(r"^model\.vision_tower\.(?!vision_model\.)"): "model.vision_tower.vision_model."
    }
)
"""Where transformers has moved modules that vLLM has left in their places: LLaVA's CLIP."""


class HarnessConfig(QuantizationConfig):
    """Which layers are in factor form, by the names that vLLM has for them."""

    def __init__(self, layers: Mapping[str, StoredLayer]) -> None:
        super().__init__()
        self.layers = dict(layers)
        self.made: dict[str, torch.nn.Module] = {}

    @classmethod
    def override_quantization_method(
        cls, hf_quant_cfg: Mapping[str, Any], user_quant: str | None, hf_config: Any = None
    ) -> None:
        """Nothing is overridden; vLLM asks this first, so that what cannot be served ends here.

        Raises:
            ValueError: the folder is not of our format, or vLLM is none that is supported.
        """
        del user_quant, hf_config
        if hf_quant_cfg.get("quant_method") == "harness":
            require_supported(__version__)
            read_layers(hf_quant_cfg)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> HarnessConfig:
        """Read ``quantization_config`` of ``config.json``.

        Raises:
            ValueError: it is not of our format, or vLLM is none that is supported.
        """
        require_supported(__version__)
        return cls(read_layers(config))

    def get_name(self) -> str:
        """As in ``quant_method``."""
        return "harness"

    def get_supported_act_dtypes(self) -> list[torch.dtype]:
        """Factors run in whatever dense layers run in."""
        return [torch.float32, torch.bfloat16, torch.float16]

    @classmethod
    def get_min_capability(cls) -> int:
        """None in particular: factors are ordinary matrices."""
        return 0

    @staticmethod
    def get_config_filenames() -> list[str]:
        """None: everything is in ``config.json``."""
        return []

    def apply_vllm_mapper(self, hf_to_vllm_mapper: WeightsMapper) -> None:
        """Call layers as the model class of vLLM does."""
        self.layers = hf_to_vllm_mapper.apply_dict(RENAMED.apply_dict(self.layers))

    @staticmethod
    def get_checkpoint_weight_mapper() -> WeightsMapper:
        """How tensors are renamed before the model class of vLLM renames them."""
        return RENAMED

    def get_quant_method(self, layer: torch.nn.Module, prefix: str) -> QuantizeMethodBase | None:
        """How the linear ``layer`` called ``prefix`` runs; None for what is not linear."""
        if not isinstance(layer, LinearBase):
            return None
        parts = self.parts(prefix)
        if all(_left_alone(part, layer) for part in parts.values()):
            return UnquantizedLinearMethod()
        from harness_vllm.method import FactorMethod  # noqa: PLC0415 - vLLM imports models late

        return FactorMethod(parts, self.made)

    def parts(self, prefix: str) -> dict[str, StoredLayer | None]:
        """What is stored of each matrix that the layer ``prefix`` merges, by its own name.

        None is a dense one. Of a projection that the architecture itself fuses, parts lie below.
        """
        parent, _, name = prefix.rpartition(".")
        below = f"{prefix}."
        fused = {
            path.removeprefix(below): stored
            for path, stored in self.layers.items()
            if path.startswith(below)
        }
        if fused:
            return dict(fused)
        names = self.packed_modules_mapping.get(name, [name])
        return {part: self.layers.get(f"{parent}.{part}" if parent else part) for part in names}


def _left_alone(part: StoredLayer | None, layer: LinearBase) -> bool:
    """Whether vLLM's own layer holds what is stored of ``part``."""
    return part is None or (part.form == "dense" and part.bias <= layer.has_bias)
