"""The family seam: where a transformers model keeps its blocks, attention and MLP."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import PretrainedConfig, PreTrainedModel

from harness.errors import UsageError
from harness.families.stack import Block, Stack
from harness.plugins.registry import Registry
from harness.records.spec import Scope


@dataclass(frozen=True)
class Family:
    """An architecture as data.

    Attributes:
        model_type: the ``model_type`` of the transformers configuration.
        language: the decoder.
        vision: the tower that reads images, None for a model of text only.
    """

    model_type: str
    language: Stack
    vision: Stack | None = None

    def blocks(self, model: PreTrainedModel, scope: Scope = "language") -> list[Block]:
        """The blocks of ``model`` within ``scope``, in the order in which data passes them.

        Raises:
            UsageError: the model has no vision tower and ``scope`` asks for one.
        """
        if scope != "language" and self.vision is None:
            raise UsageError(
                f"a model of type '{self.model_type}' has no vision tower; pass --scope language"
            )
        wanted = {"language": (self.language,), "all": (self.vision, self.language)}
        return [
            Block(f"{stack.blocks}.{index}", module, stack)
            for stack in wanted.get(scope, (self.vision,))
            if stack is not None
            for index, module in enumerate(stack.block_list(model))
        ]

    def all_blocks(self, model: PreTrainedModel) -> list[Block]:
        """The blocks of every stack of ``model``, in the order in which data passes them."""
        return self.blocks(model, "all" if self.vision else "language")


families: Registry[Family] = Registry("harness.families", "family", Family)


def family_of(config: PretrainedConfig) -> Family:
    """The family of a transformers configuration, by its ``model_type``.

    Raises:
        UsageError: no plugin declares that model type; says how to add one.
    """
    if config.model_type in families.names():
        return families.get(config.model_type)
    known = ", ".join(families.names())
    raise UsageError(
        f"no family for model type '{config.model_type}' "
        f"({', '.join(config.architectures or [])}); known: {known}; add one as a Family in an "
        f"entry point of group '{families.group}' (docs/adding.md shows one)"
    )
