"""The neurons of an MLP may stand in any order: in the one that the layer behind them reads.

A block-identity layer gathers its input. Where that is the neurons of an MLP, which nothing else
sees, the rows of the layers before it are put in its order while the model loads, and it gathers
nothing.
"""

from __future__ import annotations

from collections.abc import Collection

import torch

from harness_vllm.coordinates import Coordinates
from harness_vllm.forms import InputIdentity
from harness_vllm.part import Part

BEHIND = {"gate_up_proj": "down_proj", "fc1": "fc2"}
"""What vLLM calls the layers before an MLP's activation, and the one behind it."""
FIXED = ("head-identity", "kept-rows")
"""Forms whose rows cannot be put in another order."""


def behind(prefix: str) -> str | None:
    """The layer that reads the neurons which the layer ``prefix`` writes."""
    parent, _, name = prefix.rpartition(".")
    return f"{parent}.{BEHIND[name]}" if name in BEHIND else None


def exchange(before: Collection[Part], after: Part) -> None:
    """Let the parts ``before`` write neurons in the order in which ``after`` reads them."""
    if after.form is not InputIdentity or after.missing:
        return
    if any(part.missing or part.form_name in FIXED for part in before):
        return
    kept, rest = after.tensors["kept"], after.tensors["rest"]
    order = torch.cat([kept, rest]).long()
    for part in before:
        part.tensors = part.form.rows(part.tensors, Coordinates(order, len(order)))
    first, others = torch.arange(len(order)).tensor_split([len(kept)])
    after.tensors |= {"kept": first, "rest": others}
