"""Turn a model in factor form into one that caches latents; its tensors stay what they are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from harness.errors import UsageError
from harness.families.family import Family
from harness.families.stack import Stack
from harness.latent.attention import LatentAttention, latent_class
from harness.latent.attention_spec import AttentionSpec
from harness.latent.size import full_numbers
from harness.layers.factors import Bottleneck
from harness.models.language_model import LanguageModel, share_copy
from harness.offload.hooks import is_offloaded, read_together
from harness.records.record import CacheFacts


def with_latent_cache(subject: LanguageModel) -> LanguageModel:
    """``subject`` caching latents; shares all tensors with the one given, which stays as it is.

    A model that was compressed with its blocks on disk is changed in place, as it was then.

    Raises:
        UsageError: ``subject`` is not compressed.
    """
    if subject.compression is None:
        raise UsageError("a dense model has no latents to cache; compress it first")
    model = subject.model if is_offloaded(subject.model) else share_copy(subject.model)
    facts = install(model, subject.family)
    read_together_in(model)
    compression = subject.compression.model_copy(update={"cache": facts})
    return replace(subject, model=model, compression=compression)


def read_together_in(model: PreTrainedModel) -> None:
    """Where ``model`` caches latents and is on disk, have whole attentions read at a time."""
    for module in model.modules():
        if isinstance(module, LatentAttention):
            read_together(module)


def install(model: PreTrainedModel, family: Family) -> CacheFacts:
    """Let the decoder of ``model`` cache latents, in place; no tensor is added or renamed.

    A layer that cannot, or all of a family that declares no latent attention, goes on caching
    keys and values; the facts returned say which and why. What caches latents already stays so.

    Raises:
        UsageError: another library has wrapped an attention's ``forward``.
    """
    stack = family.language
    full = full_numbers(model, family)
    blocks = family.blocks(model)
    expanded: dict[str, str] = {}
    numbers = rotation = 0
    for block in blocks:
        if reason := _obstacle(stack, block.module):
            expanded[block.name] = reason
            numbers += full
            continue
        attention = block.module.get_submodule(stack.attention)
        if "forward" in vars(attention):
            raise UsageError(
                f"{block.name} is wrapped already, as accelerate does to place a model on devices; "
                "choose the latent cache before that"
            )
        if not isinstance(attention, LatentAttention):
            original: Any = type(attention)
            attention.__class__ = latent_class(original)
        assert isinstance(attention, LatentAttention)
        attention.wiring = _wiring(model, stack, len(blocks))
        numbers += attention.cached_numbers()
        rotation = attention.rotation_numbers()
    if stack.latent is None:
        expanded = {"*": f"family '{family.model_type}' declares no latent attention"}
    return CacheFacts(
        numbers=numbers, rotation=rotation, dense=full * len(blocks), expanded=expanded
    )


def _obstacle(stack: Stack, block: nn.Module) -> str | None:
    """Why the attention of ``block`` cannot cache latents, None where it can."""
    if stack.latent is None:
        return "its family declares no latent attention"
    for role in ("key", "value"):
        layer = block.get_submodule(stack.path(role))
        if not isinstance(layer, Bottleneck):
            return f"the {role} projection is not in low-rank form"
    return None


def _wiring(model: PreTrainedModel, stack: Stack, layers: int) -> AttentionSpec:
    config = stack.own_config(model)
    query, key, value, output = (
        _child(stack, stack.path(role)) for role in ("query", "key", "value", "output")
    )
    return AttentionSpec(
        query=query,
        key=key,
        value=value,
        output=output,
        query_norm=stack.query_norm and _child(stack, stack.query_norm),
        key_norm=stack.key_norm and _child(stack, stack.key_norm),
        rotated=stack.latent == "rotated",
        heads=config.num_attention_heads,
        kv_heads=getattr(config, "num_key_value_heads", config.num_attention_heads),
        layers=layers,
    )


def _child(stack: Stack, path: str) -> str:
    return path.removeprefix(f"{stack.attention}.")
