"""An attention module that caches latents, as a subclass of transformers' own.

Without a cache it is the original, bit for bit. A prompt that fills an empty cache runs on
expanded keys and values in the model's attention kernel, as many heads at a time as
``TRANSIENT`` allows; what follows reads the cached latents in parts of that size. Where fewer
operations result, and where no rotation is in the way, the maps from latents to heads are applied
to the queries and to the mixed values instead, as DeepSeek-V2 (arXiv 2405.04434) does.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from itertools import repeat
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from harness.errors import UsageError
from harness.latent.attention_spec import AttentionSpec, uses_sdpa
from harness.latent.heads import HeadMap
from harness.latent.online_softmax import KeyValuePart, attend
from harness.latent.rotations import Rotation, remember, remember_rotation, rotate, rotation_phases
from harness.layers.factors import Bottleneck

TRANSIENT = 2**20
"""Numbers that expanded keys and values, or scores, may take at a time: no tensor that grows with
the cached tokens is larger. Single heads of a prompt are expanded whole all the same."""

SHORTEST = 256
"""Queries take turns where all at once would leave room for fewer cached tokens a part."""


class LatentAttention(nn.Module):
    """What the subclasses made by ``latent_class`` add to a transformers attention."""

    wiring: AttentionSpec
    config: Any
    head_dim: int
    scaling: float
    layer_idx: int

    def forward(
        self,
        hidden_states: Tensor,
        position_embeddings: tuple[Tensor, Tensor] | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        **options: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """As the original's, with ``hidden_states: [batch, n, d]``.

        Raises:
            UsageError: the cache or the attention implementation cannot hold latents.
        """
        if past_key_values is None:
            if position_embeddings is not None:
                options["position_embeddings"] = position_embeddings
            result: tuple[Tensor, Tensor | None] = super().forward(
                hidden_states=hidden_states,
                attention_mask=attention_mask,
                past_key_values=None,
                **options,
            )
            return result
        wiring = self.wiring
        sdpa = uses_sdpa(self.config)
        query = self._query(hidden_states)
        phases = rotation = None
        if wiring.rotated:
            assert position_embeddings is not None
            phases, rotation = remember_rotation(
                past_key_values,
                self.layer_idx,
                position_embeddings,
                len(hidden_states),
                wiring.layers,
            )
            query = rotate(query, phases)
        query = query * self.scaling
        key, value = (factor.latent(hidden_states)[:, None] for factor in self._factors())
        new = key, value
        cached = remember(past_key_values, self.layer_idx, new, wiring.layers)
        tokens = query.shape[2]
        # Transformers leaves out the mask of several tokens only where the cache was empty.
        fills = attention_mask is None and tokens > 1
        weights = None
        if sdpa and (fills or cached[0].shape[2] == tokens):
            mixed = self._fill(query, new, phases, attention_mask, options)
        else:
            asked = options.get("output_attentions", self.config.output_attentions)
            keep_weights = bool(asked) and not sdpa
            mixed, weights = self._attend(query, cached, rotation, attention_mask, keep_weights)
        output = self.get_submodule(wiring.output)(mixed.flatten(2))
        return output, weights

    def cached_numbers(self) -> int:
        """``r_k + r_v``, what the cache takes a token."""
        return sum(factor.rank for factor in self._factors())

    def rotation_numbers(self) -> int:
        """What rotations take a token, for all layers that share a window."""
        return self.head_dim if self.wiring.rotated else 0

    def _fill(
        self,
        query: Tensor,
        latents: tuple[Tensor, Tensor],
        phases: Tensor | None,
        mask: Tensor | None,
        options: dict[str, Any],
    ) -> Tensor:
        """Attention among new tokens alone: ``[batch, n, heads, head_size]``."""
        batch, heads, tokens, size = query.shape
        group = heads // self.wiring.kv_heads
        # Under a mask the kernel repeats keys and values for each query head.
        copies = 1 if mask is None else group
        step = max(TRANSIENT // (batch * tokens * size * copies), 1)
        to_keys, to_values = (HeadMap.of(factor, size) for factor in self._factors())
        mixed = [
            ALL_ATTENTION_FUNCTIONS["sdpa"](
                self,
                query[:, start * group : (start + step) * group],
                self._keys(to_keys(latents[0], start, start + step), phases),
                to_values(latents[1], start, start + step).transpose(1, 2),
                mask,
                scaling=1.0,
                **options,
            )[0]
            for start in range(0, self.wiring.kv_heads, step)
        ]
        return torch.cat(mixed, 2)

    def _attend(
        self,
        query: Tensor,
        cached: tuple[Tensor, Tensor],
        rotation: Rotation | None,
        mask: Tensor | None,
        keep_weights: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """Attention to all that is cached: ``[batch, n, heads, head_size]``, and the weights."""
        batch, heads, tokens, size = query.shape
        shared = self.wiring.kv_heads
        key, value = self._factors()
        bare = rotation is None and self.wiring.key_norm is None
        key_stays = bare and self._absorbing_pays(tokens, key.rank)
        value_stays = self._absorbing_pays(tokens, value.rank)
        to_keys = None if key_stays else HeadMap.of(key, size)
        to_values = None if value_stays else HeadMap.of(value, size)
        if key_stays:
            # The bias adds the same to all scores of a query, which the softmax does not see.
            grouped = query.reshape(batch, shared, -1, size)
            query = key.absorb(grouped).reshape(batch, heads, tokens, -1)
        rows = max(TRANSIENT // (batch * heads * SHORTEST), 1)
        step = max(TRANSIENT // (batch * max(heads * min(rows, tokens), shared * size)), 1)

        def parts() -> Iterator[KeyValuePart]:
            for start in range(0, cached[0].shape[2], step):
                part = slice(start, start + step)
                z_k, z_v = cached[0][:, :, part], cached[1][:, :, part]
                phases = rotation and rotation_phases(
                    (rotation[0][:, :, part], rotation[1][:, :, part])
                )
                yield (
                    self._keys(to_keys(z_k), phases) if to_keys else z_k,
                    to_values(z_v).transpose(1, 2) if to_values else z_v,
                )

        masks = repeat(None) if mask is None else mask.expand(-1, -1, tokens, -1).split(rows, 2)
        pieces = [
            attend(queries, parts(), queries_mask, keep_weights=keep_weights)
            for queries, queries_mask in zip(query.split(rows, 2), masks, strict=False)
        ]
        mixed = torch.cat([part for part, _ in pieces], 2)
        kept = [part for _, part in pieces if part is not None]
        weights = torch.cat(kept, 2) if kept else None
        if value_stays:
            grouped = mixed.reshape(batch, shared, -1, mixed.shape[-1])
            mixed = value.expand_heads(grouped).reshape(batch, heads, tokens, size)
        return mixed.transpose(1, 2), weights

    def _absorbing_pays(self, queries: int, rank: int) -> bool:
        """Whether attention on latents takes no more products a cached token than on heads."""
        heads, expanded = self.wiring.heads, self.wiring.kv_heads * self.head_dim
        return queries * heads * rank <= expanded * rank + queries * heads * self.head_dim

    def _query(self, hidden_states: Tensor) -> Tensor:
        query = self.get_submodule(self.wiring.query)(hidden_states)
        query = query.view(*query.shape[:2], self.wiring.heads, -1)
        return self._normed(query, self.wiring.query_norm).transpose(1, 2)

    def _keys(self, keys: Tensor, phases: Tensor | None) -> Tensor:
        """Keys ``[batch, c, kv_heads, head_size]``, normed, rotated and with heads first."""
        keys = self._normed(keys, self.wiring.key_norm).transpose(1, 2)
        return keys if phases is None else rotate(keys, phases)

    def _normed(self, heads: Tensor, norm: str | None) -> Tensor:
        return heads if norm is None else self.get_submodule(norm)(heads)

    def _factors(self) -> tuple[Bottleneck, Bottleneck]:
        key, value = (self.get_submodule(name) for name in (self.wiring.key, self.wiring.value))
        if not (isinstance(key, Bottleneck) and isinstance(value, Bottleneck)):
            raise UsageError(
                "an adapter on keys or values adds what a cache of latents cannot hold; train it "
                "on the model saved with --cache expanded, or on other layers"
            )
        return key, value


@functools.cache
def latent_class(original: type[Any]) -> type[Any]:
    """``original`` with ``LatentAttention`` before it, so that it is still found by its class."""
    return type(f"Latent{original.__name__}", (LatentAttention, original), {})
