"""Finished blocks of a compression under way, in a folder, so that it can be stopped."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from harness.checkpoints.atomic_folder import held
from harness.checkpoints.format import SavedLayer
from harness.checkpoints.layer_formats import saved_layers, shapes_in
from harness.errors import InfrastructureError, UsageError
from harness.families.stack import Block
from harness.layers.install import install_layers, make_runnable
from harness.offload.hooks import bring_in, send_out
from harness.records.document import Document
from harness.records.record import LayerFacts
from harness.support.files import PARTIAL, file_aside
from harness.support.hashing import content_sha256

PURPOSE = "purpose.json"

_log = logging.getLogger(__name__)


class Purpose(Document):
    """All that can change a digit of the blocks in a folder."""

    compression_digest: str
    batch_size: int
    device: str
    versions: tuple[str, ...]


class BlockCheckpoint(Document):
    """What is known about a finished block, and the SHA-256 of the file of its tensors.

    The paths of ``layers`` start at the block.
    """

    sha256: str
    facts: tuple[LayerFacts, ...]
    layers: tuple[SavedLayer, ...]


class Checkpoints(Protocol):
    """Where finished blocks are kept, so that a compression can be stopped."""

    @property
    def pending(self) -> Collection[str]:
        """Names of the blocks that are not finished."""

    def visit(self, block: Block) -> AbstractContextManager[FinishedBlock | None]:
        """Have ``block`` in memory; gives its finished form if there is one."""

    def put(self, block: Block, facts: Sequence[LayerFacts]) -> None:
        """Keep the compressed ``block``.

        Raises:
            InfrastructureError: it cannot be written.
        """


@dataclass(frozen=True)
class FinishedBlock:
    """A block that was compressed before: its tensors and what is known about it."""

    tensors: Path
    facts: Path
    device: torch.device

    def install(self, block: Block) -> tuple[LayerFacts, ...]:
        """Put it in the place of the dense ``block``."""
        known = BlockCheckpoint.model_validate_json(self.facts.read_bytes())
        with torch.device("meta"):
            install_layers(block.module, shapes_in(known.layers))
        tensors = load_file(self.tensors, device=str(self.device))
        block.module.load_state_dict(tensors, assign=True)
        make_runnable(block.module)
        return known.facts


class NoCheckpoints:
    """For a model in memory: no block is finished, none is kept."""

    def __init__(self, blocks: Iterable[Block]) -> None:
        self.pending = frozenset(block.name for block in blocks)

    def visit(self, block: Block) -> AbstractContextManager[None]:  # noqa: ARG002
        """See ``Checkpoints``."""
        return nullcontext()

    def put(self, block: Block, facts: Sequence[LayerFacts]) -> None:
        """See ``Checkpoints``."""


@dataclass(frozen=True)
class BlockCheckpoints:
    """A folder of finished blocks, each with its tensors and a ``BlockCheckpoint``.

    The latter is written last and whole: a block that has one is finished.
    """

    folder: Path
    device: torch.device
    pending: frozenset[str]

    @contextmanager
    def visit(self, block: Block) -> Iterator[FinishedBlock | None]:
        """See ``Checkpoints``; what was put in its place is read from here afterwards."""
        bring_in(block.module)
        block.require_finite()
        tensors, facts = _files(self.folder, block)
        yield None if block.name in self.pending else FinishedBlock(tensors, facts, self.device)
        send_out(block.module, tensors, self.device)

    def put(self, block: Block, facts: Sequence[LayerFacts]) -> None:
        """See ``Checkpoints``."""
        path, facts_path = _files(self.folder, block)
        tensors = {name: t.contiguous() for name, t in block.module.state_dict().items()}
        try:
            with file_aside(path) as aside:
                save_file(tensors, aside)
            done = BlockCheckpoint(
                sha256=content_sha256(path),
                facts=tuple(facts),
                layers=saved_layers(block.module),
            )
            _write(facts_path, done)
        except (OSError, SafetensorError) as error:
            raise InfrastructureError(
                f"cannot write {path} ({error}); free some space and run again to go on"
            ) from error


def open_checkpoints(
    folder: Path | None,
    compression_digest: str,
    blocks: Iterable[Block],
    batch_size: int,
    device: torch.device,
) -> Checkpoints:
    """The finished blocks of the same compression in ``folder``; those of another are removed.

    Args:
        folder: where they are kept; None for a model in memory, of which none is kept.
        compression_digest: of what is being made (see ``harness.records.provenance``).
        blocks: all that are compressed.
        batch_size: sequences per forward pass.
        device: where blocks compute.

    Raises:
        UsageError: ``folder`` holds something else.
        InfrastructureError: it cannot be written.
    """
    if folder is None:
        return NoCheckpoints(blocks)
    versions = tuple(f"{name} {version(name)}" for name in ("harness", "torch", "transformers"))
    purpose = Purpose(
        compression_digest=compression_digest,
        batch_size=batch_size,
        device=device.type,
        versions=versions,
    )
    try:
        content = _content(folder)
        if content != purpose:
            if content:
                _log.warning("%s holds blocks of another compression; starting afresh", folder)
                _clear(folder)
            folder.mkdir(parents=True, exist_ok=True)
            _write(folder / PURPOSE, purpose)
    except OSError as error:
        raise InfrastructureError(
            f"cannot write {folder} ({error}); free some space or choose another folder"
        ) from error
    pending = frozenset(block.name for block in blocks if not _holds(folder, block))
    return BlockCheckpoints(folder, device, pending)


@contextmanager
def block_checkpoints_beside(target: Path) -> Iterator[Path]:
    """A hidden folder for the finished blocks of the model that goes to ``target``.

    It is removed if the block ends well, else kept for the next time.

    Raises:
        UsageError: another process is at it, or it holds something else.
        InfrastructureError: it cannot be made.
    """
    folder = target.with_name(f".{target.name}.blocks")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InfrastructureError(
            f"cannot make {folder} ({error}); choose a folder that can be written"
        ) from error
    with held(folder, target):
        try:
            yield folder
            _content(folder)
            _clear(folder)
        finally:
            with suppress(OSError):  # it has content
                folder.rmdir()


def _holds(folder: Path, block: Block) -> bool:
    """Whether ``block`` is finished and its files are as they were written."""
    tensors, facts = _files(folder, block)
    if not facts.is_file():
        return False
    try:
        known = BlockCheckpoint.model_validate_json(facts.read_bytes())
        whole = content_sha256(tensors) == known.sha256
    except (OSError, ValidationError):
        whole = False
    if not whole:
        _log.warning("%s of %s is damaged; compressing it again", block.name, folder)
        facts.unlink()
    return whole


def _files(folder: Path, block: Block) -> tuple[Path, Path]:
    """Where the tensors of a block are, and what is known about it."""
    return folder / f"{block.name}.safetensors", folder / f"{block.name}.json"


def _clear(folder: Path) -> None:
    """What says whose the folder is goes last, so that stopping midway leaves it recognisable."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name == PURPOSE):
        path.unlink()


def _content(folder: Path) -> Purpose | None:
    """None for a folder without content.

    Raises:
        UsageError: it holds something else.
    """
    if not folder.exists() or all(path.suffix == PARTIAL for path in folder.iterdir()):
        return None
    try:
        return Purpose.model_validate_json((folder / PURPOSE).read_bytes())
    except (OSError, ValidationError) as error:
        raise UsageError(
            f"{folder} is to hold finished blocks and holds something else; move it away"
        ) from error


def _write(path: Path, document: Document) -> None:
    with file_aside(path) as aside:
        aside.write_text(document.model_dump_json() + "\n", encoding="utf-8")
