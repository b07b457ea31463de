"""LoRA of peft on layers in factor form.

peft chooses by class what it adapts: ``nn.Linear`` and the layers of the quantisation methods that
it knows. Its table of methods takes a subclass of its own tuner that knows factors too.
"""

from __future__ import annotations

from typing import Any

from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
from peft.tuners.lora.layer import Linear
from peft.tuners.lora.model import LoraModel
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import PeftType
from torch import nn

from harness.errors import UsageError
from harness.layers.factors import CompressedLinear
from harness.layers.fused import FusedFactors

ALL = "all-linear"
_UNMERGED = (
    "factors have no weight that an adapter could be merged into; keep it beside the model, and "
    "export the model as an ordinary checkpoint ('harness export') before training one to merge"
)


class LoraOnFactors(Linear):  # type: ignore[misc]
    """``y = W_hat x + bias + s B (A x)``, of which ``A: [r, d_in]`` and ``B: [d_out, r]`` learn."""

    def update_layer(self, *arguments: Any, config: Any, **options: Any) -> None:
        """Add an adapter.

        Raises:
            UsageError: it starts from the dense weight, which is not there.
        """
        if isinstance(start := config.init_lora_weights, str) and start != "gaussian":
            raise UsageError(
                f"init_lora_weights='{start}' starts from a layer's dense weight, and factors have "
                "none; pass True or 'gaussian'"
            )
        super().update_layer(*arguments, config=config, **options)

    @property
    def lora_variants(self) -> dict[tuple[str, ...], None]:
        """LoRA as it is: the variants read or change a dense weight."""
        return {(): None}

    def merge(self, *_: Any, **__: Any) -> None:
        """Never.

        Raises:
            UsageError: always.
        """
        raise UsageError(_UNMERGED)

    def _get_in_out_features(self, module: Any) -> tuple[int, int]:
        return module.in_features, module.out_features


class FactorLoraModel(LoraModel):  # type: ignore[misc]
    """LoRA on the layers of a compressed model, in factor form or not, by their names."""

    def _prepare_model(self, peft_config: Any, model: nn.Module) -> None:
        super()._prepare_model(peft_config, model)
        targets = peft_config.target_modules
        if isinstance(targets, str) and targets.lower() == ALL and (ours := adaptable(model)):
            head = getattr(model, "get_output_embeddings", lambda: None)()
            dense = {
                name
                for name, module in model.named_modules()
                if isinstance(module, nn.Linear) and module is not head
            }
            peft_config.target_modules = dense | ours

    @staticmethod
    def _create_new_module(
        lora_config: Any, adapter_name: str, target: nn.Module, **options: Any
    ) -> Any:
        base = target.get_base_layer() if isinstance(target, BaseTunerLayer) else target
        if isinstance(base, CompressedLinear | FusedFactors):
            return LoraOnFactors(target, adapter_name, config=lora_config, **options)
        return LoraModel._create_new_module(  # noqa: SLF001 - peft names what may be overridden so
            lora_config, adapter_name, target, **options
        )

    def _check_merge_allowed(self) -> None:
        super()._check_merge_allowed()
        if any(isinstance(module, LoraOnFactors) for module in self.model.modules()):
            raise UsageError(_UNMERGED)


def adaptable(model: nn.Module) -> set[str]:
    """The paths of the linear layers of ``model`` in factor form, a fused projection once."""
    fused = {path for path, module in model.named_modules() if isinstance(module, FusedFactors)}
    return fused | {
        path
        for path, module in model.named_modules()
        if isinstance(module, CompressedLinear) and path.rpartition(".")[0] not in fused
    }


def register() -> None:
    """Tell peft."""
    PEFT_TYPE_TO_TUNER_MAPPING[PeftType.LORA] = FactorLoraModel
