"""Statistics on disk, for processes that need the same ones.

They are of one code and one machine: a folder of them must not outlive the work it was made for.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from harness.errors import InfrastructureError
from harness.records.document import digest
from harness.statistics.block_statistics import BackwardStatistics, BlockStatistics
from harness.statistics.moments import Moments
from harness.statistics.packed_moments import PackedMoments, packed
from harness.support.files import file_aside
from harness.support.locks import locked

PARTS = ("second", "mean", "magnitude")
"""Of moments as they are held: ``second`` is packed."""

_log = logging.getLogger(__name__)


def shared(
    folder: Path,
    origin: Mapping[str, str],
    device: torch.device,
    build: Callable[[], list[BlockStatistics]],
) -> list[BlockStatistics]:
    """The statistics of ``origin``, by ``build`` unless another process has put them there.

    Args:
        folder: where they are kept.
        origin: all that they depend on; it names the file and is written into it.
        device: where they are wanted.
        build: collects them.

    Raises:
        InfrastructureError: the folder cannot be written, or the disk is full.
    """
    path = folder / f"{digest(dict(origin))}.safetensors"
    with locked(path.with_suffix(".lock")):
        if path.exists():
            try:
                return load(path, origin, device)
            except (SafetensorError, ValueError) as error:
                _log.warning("%s is damaged (%s); calibrating again", path, error)
        blocks = build()
        try:
            with file_aside(path) as aside:
                save(blocks, origin, aside)
        except (OSError, SafetensorError) as error:
            raise InfrastructureError(
                f"cannot keep statistics in {folder} ({error}); free some space, choose an "
                "--output on a larger disk, or use propagation 'sequential'"
            ) from error
        return blocks


def save(blocks: Sequence[BlockStatistics], origin: Mapping[str, str], path: Path) -> None:
    """Write ``blocks`` without loss."""
    tensors: dict[str, Tensor] = {}
    counts: list[dict[str, dict[str, int]]] = []
    confirmed: list[dict[str, float] | None] = []
    for number, block in enumerate(blocks):
        backward = block.backward
        kinds: dict[str, Mapping[Any, Moments]] = {"moments": packed(block.moments).held}
        confirmed.append(None)
        if backward is not None:
            kinds["gradients"] = packed(backward.gradients).held
            tensors[f"{number}.influence"] = backward.influence
            confirmed[-1] = {str(name): share for name, share in backward.confirmed.items()}
        counts.append(
            {kind: {name: known.count for name, known in of.items()} for kind, of in kinds.items()}
        )
        for kind, of in kinds.items():
            for name, known in of.items():
                for part in PARTS:
                    tensors[f"{number}.{kind}.{name}.{part}"] = getattr(known, part)
        if block.mlp_tokens is not None:
            tensors[f"{number}.mlp_tokens"] = block.mlp_tokens
        if block.inverse_norms is not None:
            query, key = block.inverse_norms
            tensors |= {f"{number}.query_norms": query, f"{number}.key_norms": key}
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    facts = {"counts": counts, "confirmed": confirmed, "origin": dict(origin)}
    # The order of several entries would differ from file to file.
    save_file(whole, path, metadata={"facts": json.dumps(facts)})


def load(path: Path, origin: Mapping[str, str], device: torch.device) -> list[BlockStatistics]:
    """Read what ``save`` wrote.

    Raises:
        SafetensorError: the file is damaged.
        ValueError: it holds something else.
    """
    with safe_open(path, framework="pt", device=str(device)) as file:
        facts = json.loads((file.metadata() or {}).get("facts", "{}"))
        if facts.get("origin") != dict(origin):
            raise ValueError("it says that it comes from something else")
        return [
            _read_block(file, number, *known)
            for number, known in enumerate(zip(facts["counts"], facts["confirmed"], strict=True))
        ]


def _read_block(
    file: Any,
    number: int,
    counts: Mapping[str, Mapping[Any, int]],
    confirmed: Mapping[Any, float] | None,
) -> BlockStatistics:
    there = set(file.keys())

    def stored(name: str) -> Tensor:
        # Tensors of a mapped file are not aligned as computed ones are, and matrix products
        # differ in their last digits by that.
        return file.get_tensor(f"{number}.{name}").clone()

    def optional(name: str) -> Tensor | None:
        return stored(name) if f"{number}.{name}" in there else None

    def moments(kind: str) -> PackedMoments[Any]:
        return PackedMoments(
            {
                name: Moments(count, *(stored(f"{kind}.{name}.{part}") for part in PARTS))
                for name, count in counts[kind].items()
            }
        )

    query, key = optional("query_norms"), optional("key_norms")
    backward = None
    if confirmed is not None:
        backward = BackwardStatistics(moments("gradients"), confirmed, stored("influence"))
    return BlockStatistics(
        moments=moments("moments"),
        mlp_tokens=optional("mlp_tokens"),
        inverse_norms=None if query is None or key is None else (query, key),
        backward=backward,
    )
