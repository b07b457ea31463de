"""Building and filling a saved model within ``from_pretrained``.

transformers lets quantisation methods swap layers before weights are read and finish afterwards.
Factors are stored forms of linear layers like any other, so this is their place too: the model
keeps its class, and device maps, dtypes and sharded files work as they do for every model.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING, AUTO_QUANTIZER_MAPPING
from transformers.utils.quantization_config import QuantizationConfigMixin

from harness.assets.weight_files import NAMED, NO_WEIGHTS
from harness.checkpoints.format import NAME, Layout, read_layout
from harness.checkpoints.layer_formats import saved_layers, shapes_in
from harness.checkpoints.saved_record import SavedRecord, read_saved_record
from harness.checkpoints.standalone_reader import StoredLayersQuantizer
from harness.errors import AssetError, UsageError
from harness.layers.shapes import LayerShape


class LayoutConfig(QuantizationConfigMixin):
    """The layout as transformers carries it: the same keys as attributes."""

    def __init__(self, **content: Any) -> None:
        self.layout = read_layout(content)
        self.quant_method = NAME  # type: ignore[assignment]

    def to_dict(self) -> dict[str, Any]:
        """What ``config.json`` holds."""
        return self.layout.model_dump(mode="json")

    def shapes(self) -> dict[str, LayerShape]:
        """The forms and the sizes of the layers, by path."""
        return shapes_in(self.layout.layers)

    def __iter__(self) -> Any:
        yield from self.to_dict().items()


class LayoutQuantizer(StoredLayersQuantizer):
    """The same with latent caches, checks of the files, and ``save_pretrained``."""

    quantization_config: LayoutConfig
    record: SavedRecord | None = None

    def _process_model_before_weight_loading(
        self, model: PreTrainedModel, checkpoint_files: list[str] | None = None, **_: Any
    ) -> None:
        for file in checkpoint_files or ():
            if Path(file).suffix != ".safetensors":
                raise AssetError(f"{file} is no safetensors file; copy the saved model again")
        layout = self.quantization_config.layout
        if checkpoint_files:
            with suppress(AssetError):  # others need no record
                self.record = read_saved_record(Path(checkpoint_files[0]).parent)
        super()._process_model_before_weight_loading(model)
        if layout.cache == "latent":
            # Only now: this module is imported while transformers still is.
            from harness.families.family import family_of  # noqa: PLC0415
            from harness.latent.install import install as cache_latents  # noqa: PLC0415

            cache_latents(model, family_of(model.config))

    def is_serializable(self) -> bool:
        """Whether ``save_pretrained`` can write the model; needs the record that it came with."""
        return True

    def get_state_dict_and_metadata(self, model: PreTrainedModel) -> tuple[None, dict[str, str]]:
        """What ``save_pretrained`` asks first: has the configuration say what is written now.

        The weights may have been trained, so of the record only what is known of their origin goes
        along. The code for transformers alone does not.

        Raises:
            UsageError: the model came without a record.
        """
        if self.record is None:
            raise UsageError(
                "save_pretrained needs the record.json of the folder that the model came from, "
                "which it lacked; use harness.save of what harness.load opened"
            )
        latent = self.quantization_config.layout.cache
        self.quantization_config.layout = Layout(
            cache=latent,
            layers=saved_layers(model),
            retrained=self.record.retrained().model_dump(mode="json"),
        )
        model.config.quantization_config = self.quantization_config
        model.config.__dict__.pop("auto_map", None)
        setattr(model.config, NAMED, NO_WEIGHTS)
        return None, {}


def register() -> None:
    """Tell transformers which layouts this module reads."""
    AUTO_QUANTIZATION_CONFIG_MAPPING[NAME] = LayoutConfig
    AUTO_QUANTIZER_MAPPING[NAME] = LayoutQuantizer
