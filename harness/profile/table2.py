"""The terms that the paper's Table 2 counts, found from its own numbers.

The table states FLOPs, multiply-accumulates (MACs), bytes of parameters and bytes of the KV cache
of OPT-6.7B for "the token length of 2048 at 4 batches". This is what gives its printed digits:

- **MACs** are those of the linear layers, the output head among them, at all 4 x 2048 positions:
  ``(32 * 12 * 4096^2 + 50272 * 4096) * 8192 = 54.46e12``, printed 54.5T. Attention between tokens
  would add 4.4e12 and is not in it. At a ratio ``p`` the printed MACs are ``1 - p`` of that with
  the head: the head is compressed like every other linear layer. Were it left alone, 20% would read
  43.9T, printed is 43.6T.
- **FLOPs** are twice the printed MACs in all five rows.
- **Parameters** are all of the model's, two bytes each: 6.658e9, printed 13.32G, twice 6.66. In the
  compressed rows each fifth removes 2.66G, a fifth of all linear layers *with* the head, but 20%
  starts from 13.73G and not from 13.32G: a compressed head no longer shares its matrix with the
  embedding, which then counts by itself (0.41G). Embeddings of tokens and positions, norms and
  biases stay. Each printed value is twice a count of billions with two decimals.
- **Ranks** are those of a block identity in each layer, rounded down, without one in the heads.
- **KV cache**: each printed value is the dense one times ``1 - sqrt(p)`` with three decimals, hence
  ``r / d`` of a square layer. The dense one, 5.37G, is *not* that of 4 x 2048 tokens, which hold
  ``2 * 32 * 4096 * 8192 * 2 = 4.29e9`` bytes, but 1.25 times it, exactly 5 GiB: the cache of
  10,240 tokens. The paper does not say why. The factor is the same in all rows.

``Counted`` holds these numbers before rounding, ``Counted.printed`` rounds them the way the table
was: then all twenty values are the table's. Rounded once instead, eight would be one unit of the
last digit away: FLOPs 108.9T, 87.1T and 65.3T, parameters 11.07G, 8.41G, 5.75G and 3.09G, and the
cache at 40% 1.97G.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from harness.algebra.ranks import factor_parameters, rank_for
from harness.profile.count import Workload
from harness.profile.skeleton import Skeleton

MODEL, METHOD = "facebook/opt-6.7b", "latentllm"
WORKLOAD = Workload(batch=4, sequence=2048)
BYTES = 2
CACHE_EXCESS = 1.25
"""Printed cache over that of the tokens the paper names."""


@dataclass(frozen=True)
class Printed:
    """A row of Table 2, in its own units."""

    flops_T: float  # noqa: N815
    macs_T: float  # noqa: N815
    param_bytes_G: float  # noqa: N815
    kv_cache_bytes_G: float  # noqa: N815


@dataclass(frozen=True)
class Counted:
    """A row of Table 2 as counted.

    Attributes:
        ratio: share of parameters removed.
        macs: of the linear layers and the output head.
        parameters: of the whole model.
        dense_cache: bytes of the dense model's cache.
        cache: bytes of this one's.
    """

    ratio: float
    macs: int
    parameters: int
    dense_cache: float
    cache: float

    @property
    def flops(self) -> int:
        """Two for each multiply-accumulate."""
        return 2 * self.macs

    @property
    def parameter_bytes(self) -> int:
        """Two for each parameter."""
        return BYTES * self.parameters

    def printed(self) -> Printed:
        """Rounded as the table is."""
        macs = round(self.macs / 1e12, 1)
        share = round(1 - math.sqrt(self.ratio), 3)
        return Printed(
            flops_T=round(2 * macs, 1),
            macs_T=macs,
            param_bytes_G=round(2 * round(self.parameters / 1e9, 2), 2),
            kv_cache_bytes_G=round(share * round(self.dense_cache / 1e9, 2), 2),
        )


@cache
def published_table2() -> Mapping[float, Mapping[str, float]]:
    """The rows that the paper prints by ratio, columns named with their units."""
    text = files("harness.profile").joinpath("table2.json").read_text(encoding="utf-8")
    rows: list[dict[str, float]] = json.loads(text)["rows"]
    return {row["ratio"]: {k: v for k, v in row.items() if k != "ratio"} for row in rows}


def as_table2(subject: Skeleton, ratio: float) -> Counted:
    """Count ``subject``, a decoder with an output head, as Table 2 counts OPT-6.7B."""
    assert subject.head is not None
    head = subject.head.weight
    blocks = [weights for _, weights in subject.blocks()]
    layers = [layer.weight.shape for block in blocks for layer in block.layers.values()]
    linear = [*layers, head.shape]
    dense = sum(shape.numel() for shape in linear)
    kept = sum(_kept((shape[0], shape[1]), ratio) for shape in linear)
    shared = head is subject.model.get_input_embeddings().weight and ratio > 0
    whole = sum(p.numel() for p in subject.model.parameters())
    key = blocks[0].layers["key"].weight.shape
    width = rank_for(key, 1 - ratio, "block-identity") if ratio else key[0]
    numbers = 2 * len(blocks) * WORKLOAD.tokens * CACHE_EXCESS
    return Counted(
        ratio=ratio,
        macs=kept * WORKLOAD.tokens,
        parameters=whole - dense + kept + (head.numel() if shared else 0),
        dense_cache=key[0] * numbers * BYTES,
        cache=width * numbers * BYTES,
    )


def _kept(shape: tuple[int, int], ratio: float) -> int:
    if not ratio:
        return shape[0] * shape[1]
    return factor_parameters(shape, rank_for(shape, 1 - ratio, "block-identity"), "block-identity")
