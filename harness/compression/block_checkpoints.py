"""Finished blocks of a compression under way, in a folder, so that it can be stopped."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from harness.checkpoints import layer_formats as forms
from harness.checkpoints.atomic_folder import held
from harness.checkpoints.finalize import make_runnable
from harness.checkpoints.format import SavedLayer
from harness.errors import InfrastructureError, UsageError
from harness.families.stack import Block
from harness.offload.hooks import bring_in, send_out
from harness.records.document import Document
from harness.records.record import LayerFacts
from harness.support.files import PARTIAL, file_aside
from harness.support.hashing import content_sha256

PURPOSE = "staging.json"

_log = logging.getLogger(__name__)


class Purpose(Document):
    """All that can change a digit of the blocks in a folder; ``recipe`` as in ``Origin``."""

    recipe: str
    batch_size: int
    device: str
    versions: tuple[str, ...]


class StagedBlock(Document):
    """What is known about a finished block, and the SHA-256 of the file of its tensors.

    The paths of ``forms`` start at the block.
    """

    sha256: str
    facts: tuple[LayerFacts, ...]
    forms: tuple[SavedLayer, ...]


@dataclass(frozen=True)
class Staging:
    """A folder of finished blocks, each with its tensors and a ``StagedBlock``.

    The latter is written last and whole: a block that has one is finished.
    """

    folder: Path
    device: torch.device

    def holds(self, block: Block) -> bool:
        """Whether ``block`` is finished and its files are as they were written."""
        path = self._facts(block)
        if not path.is_file():
            return False
        try:
            known = StagedBlock.model_validate_json(path.read_bytes())
            whole = content_sha256(self._tensors(block)) == known.sha256
        except (OSError, ValidationError):
            whole = False
        if not whole:
            _log.warning("%s of %s is damaged; compressing it again", block.name, self.folder)
            path.unlink()
        return whole

    @contextmanager
    def visit(self, block: Block) -> Iterator[None]:
        """Have ``block`` in memory; what was put in its place is read from here afterwards."""
        bring_in(block.module)
        block.require_finite()
        yield
        send_out(block.module, self._tensors(block), self.device)

    def put(self, block: Block, facts: Sequence[LayerFacts]) -> None:
        """Keep the compressed ``block``.

        Raises:
            InfrastructureError: it cannot be written.
        """
        path = self._tensors(block)
        tensors = {name: tensor.contiguous() for name, tensor in block.module.state_dict().items()}
        try:
            with file_aside(path) as aside:
                save_file(tensors, aside)
            done = StagedBlock(
                sha256=content_sha256(path),
                facts=tuple(facts),
                forms=forms.saved_layers(block.module),
            )
            _write(self._facts(block), done)
        except (OSError, SafetensorError) as error:
            raise InfrastructureError(
                f"cannot write {path} ({error}); free some space and run again to go on"
            ) from error

    def install(self, block: Block) -> tuple[LayerFacts, ...]:
        """Put the finished block in the place of the dense one."""
        known = StagedBlock.model_validate_json(self._facts(block).read_bytes())
        with torch.device("meta"):
            forms.install(block.module, known.forms)
        tensors = load_file(self._tensors(block), device=str(self.device))
        block.module.load_state_dict(tensors, assign=True)
        make_runnable(block.module)
        return known.facts

    def _tensors(self, block: Block) -> Path:
        return self.folder / f"{block.name}.safetensors"

    def _facts(self, block: Block) -> Path:
        return self.folder / f"{block.name}.json"


def open_staging(folder: Path, recipe: str, batch_size: int, device: torch.device) -> Staging:
    """The finished blocks of the same compression in ``folder``; those of another are removed.

    Raises:
        UsageError: ``folder`` holds something else.
        InfrastructureError: it cannot be written.
    """
    versions = tuple(f"{name} {version(name)}" for name in ("harness", "torch", "transformers"))
    purpose = Purpose(recipe=recipe, batch_size=batch_size, device=device.type, versions=versions)
    try:
        if former := _content(folder):
            if former == purpose:
                return Staging(folder, device)
            _log.warning("%s holds blocks of another compression; starting afresh", folder)
            _clear(folder)
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / PURPOSE, purpose)
    except OSError as error:
        raise InfrastructureError(
            f"cannot write {folder} ({error}); free some space or choose another folder"
        ) from error
    return Staging(folder, device)


@contextmanager
def staging_beside(target: Path) -> Iterator[Path]:
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
