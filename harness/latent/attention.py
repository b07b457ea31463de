"""An attention module that caches latents, as a subclass of transformers' own.

Without a cache it is the original, bit for bit. A prompt that fills an empty cache runs on
expanded keys and values in the model's attention kernel; what follows reads the cached latents
in parts of bounded size. Where fewer operations result, and where no rotation is in the way, the
maps from latents to heads are applied to the queries and to the mixed values instead, as
DeepSeek-V2 (arXiv 2405.04434) does.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from harness.errors import UsageError
from harness.factors import Bottleneck
from harness.latent.rotations import Rotation, remember, remember_rotation
from harness.latent.softmax import Part, attend

TRANSIENT = 2**23
"""Numbers that the parts of an expanded cache may take at a time."""


@dataclass(frozen=True)
class Wiring:
    """Names of the submodules of an attention and how its rows split into heads.

    ``layers`` is the number of layers of the decoder, and so of a cache.
    """

    query: str
    key: str
    value: str
    output: str
    query_norm: str | None
    key_norm: str | None
    rotated: bool
    heads: int
    kv_heads: int
    layers: int


class LatentAttention(nn.Module):
    """What the subclasses made by ``latent_class`` add to a transformers attention."""

    wiring: Wiring
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
        sdpa = _uses_sdpa(self.config)
        query = self._query(hidden_states)
        new_rotation = rotation = None
        if wiring.rotated:
            assert position_embeddings is not None
            new_rotation = _halves(position_embeddings, len(hidden_states))
            query = _rotate(query, new_rotation)
            rotation = remember_rotation(
                past_key_values, self.layer_idx, new_rotation, wiring.layers
            )
        query = query * self.scaling
        new = (
            self._factor(wiring.key).latent(hidden_states)[:, None],
            self._factor(wiring.value).latent(hidden_states)[:, None],
        )
        cached = remember(past_key_values, self.layer_idx, new, wiring.layers)
        tokens = query.shape[2]
        # Transformers leaves out the mask of several tokens only where the cache was empty.
        fills = attention_mask is None and tokens > 1
        if sdpa and (fills or cached[0].shape[2] == tokens):
            mixed, weights = ALL_ATTENTION_FUNCTIONS["sdpa"](
                self,
                query,
                self._keys(new[0], new_rotation),
                self._values(new[1]),
                attention_mask,
                scaling=1.0,
                **options,
            )
        else:
            mixed, weights = self._attend(query, cached, rotation, attention_mask, not sdpa)
            mixed = mixed.transpose(1, 2)
        output = self.get_submodule(wiring.output)(mixed.flatten(2))
        return output, weights

    def cached_numbers(self) -> int:
        """``r_k + r_v``, what the cache takes a token."""
        return self._factor(self.wiring.key).rank + self._factor(self.wiring.value).rank

    def rotation_numbers(self) -> int:
        """What rotations take a token, for all layers that share a window."""
        return self.head_dim if self.wiring.rotated else 0

    def _attend(
        self,
        query: Tensor,
        cached: tuple[Tensor, Tensor],
        rotation: Rotation | None,
        mask: Tensor | None,
        keep_weights: bool,
    ) -> tuple[Tensor, Tensor | None]:
        batch, heads, tokens, size = query.shape
        shared = self.wiring.kv_heads
        key, value = self._factor(self.wiring.key), self._factor(self.wiring.value)
        bare = rotation is None and self.wiring.key_norm is None
        key_stays = bare and self._absorbing_pays(tokens, key.rank)
        value_stays = self._absorbing_pays(tokens, value.rank)
        if key_stays:
            # The bias adds the same to all scores of a query, which the softmax does not see.
            grouped = query.reshape(batch, shared, -1, size)
            query = key.absorb(grouped).reshape(batch, heads, tokens, -1)

        def parts() -> Iterator[Part]:
            expanded = (not key_stays) + (not value_stays)
            per_token = batch * (heads * tokens + expanded * shared * size)
            step = max(TRANSIENT // per_token, 1)
            for start in range(0, cached[0].shape[2], step):
                part = slice(start, start + step)
                z_k, z_v = cached[0][:, :, part], cached[1][:, :, part]
                turn = (
                    None if rotation is None else (rotation[0][:, :, part], rotation[1][:, :, part])
                )
                yield (
                    z_k if key_stays else self._keys(z_k, turn),
                    z_v if value_stays else self._values(z_v),
                )

        mixed, weights = attend(query, parts(), mask, keep_weights=keep_weights)
        if value_stays:
            grouped = mixed.reshape(batch, shared, -1, mixed.shape[-1])
            mixed = value.expand_heads(grouped).reshape(batch, heads, tokens, size)
        return mixed, weights

    def _absorbing_pays(self, queries: int, rank: int) -> bool:
        """Whether attention on latents takes no more products a cached token than on heads."""
        heads, expanded = self.wiring.heads, self.wiring.kv_heads * self.head_dim
        return queries * heads * rank <= expanded * rank + queries * heads * self.head_dim

    def _query(self, hidden_states: Tensor) -> Tensor:
        query = self.get_submodule(self.wiring.query)(hidden_states).unflatten(
            -1, (self.wiring.heads, -1)
        )
        return self._normed(query, self.wiring.query_norm).transpose(1, 2)

    def _keys(self, z: Tensor, rotation: Rotation | None) -> Tensor:
        """Latents ``[batch, 1, c, r]`` to rotated keys ``[batch, kv_heads, c, head_size]``."""
        keys = (
            self._factor(self.wiring.key).expand(z[:, 0]).unflatten(-1, (self.wiring.kv_heads, -1))
        )
        keys = self._normed(keys, self.wiring.key_norm).transpose(1, 2)
        return keys if rotation is None else _rotate(keys, rotation)

    def _values(self, z: Tensor) -> Tensor:
        values: Tensor = self._factor(self.wiring.value).expand(z[:, 0])
        return values.unflatten(-1, (self.wiring.kv_heads, -1)).transpose(1, 2)

    def _normed(self, heads: Tensor, norm: str | None) -> Tensor:
        return heads if norm is None else self.get_submodule(norm)(heads)

    def _factor(self, name: str) -> Bottleneck:
        factor = self.get_submodule(name)
        assert isinstance(factor, Bottleneck)
        return factor


@functools.cache
def latent_class(original: type[Any]) -> type[Any]:
    """``original`` with ``LatentAttention`` before it, so that it is still found by its class."""
    return type(f"Latent{original.__name__}", (LatentAttention, original), {})


def _uses_sdpa(config: Any) -> bool:
    implementation = config._attn_implementation  # noqa: SLF001
    if implementation not in {"sdpa", "eager"}:
        raise UsageError(
            f"latent attention does not run with attention implementation '{implementation}'; "
            "use sdpa or eager, or the expanded cache"
        )
    return implementation == "sdpa"


def _halves(embeddings: tuple[Tensor, Tensor], batch: int) -> Rotation:
    """``[1 or batch, n, head_size]``, whose halves are equal, to one of them per row."""
    cos, sin = (e[..., : e.shape[-1] // 2].expand(batch, -1, -1)[:, None] for e in embeddings)
    return cos, sin


def _rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Turn the pairs that the halves of each head ``x: [batch, heads, n, head_size]`` form."""
    cos, sin = rotation
    one, two = x.chunk(2, -1)
    return torch.cat([one * cos - two * sin, two * cos + one * sin], -1)
