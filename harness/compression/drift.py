"""Sources of drift: what the layers of a block receive and lack after what was compressed before.

``enter`` is called before a block is compressed, ``leave`` after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from transformers import PreTrainedModel

from harness.algebra.drift import Drift
from harness.compression.job import CompressionJob
from harness.compression.sources import stacks
from harness.families.stack import Block
from harness.layers.roles import Role
from harness.layers.weights import LinearWeights
from harness.models.language_model import LanguageModel
from harness.statistics.block_stream import BlockStream
from harness.statistics.drift import TwoStreams


class DriftSource(Protocol):
    """Follows the calibration through the dense model and, beside, through the compressed one."""

    def enter(self, block: Block) -> BlockDrift | None:
        """What can be measured inside ``block``, None where the method does not ask for it."""

    def leave(self, block: Block) -> None:
        """``block`` is in its compressed form."""


@dataclass(frozen=True)
class BlockDrift:
    """Drift inside the block at position ``index`` of its stack."""

    streams: TwoStreams
    index: int

    def measure(self, role: Role, layer: LinearWeights) -> Drift:
        """What ``role`` receives now and lacks; ``layer`` is dense (see ``TwoStreams.measure``)."""
        return self.streams.measure(self.index, role, layer)


class NoDrift:
    """For methods that do not compensate."""

    def enter(self, block: Block) -> None:
        """Nothing is measured."""

    def leave(self, block: Block) -> None:
        """Nothing streams."""


class DriftStreams:
    """Two streams through each stack in turn, opened when its first block is entered."""

    def __init__(self, subject: LanguageModel, model: PreTrainedModel, job: CompressionJob) -> None:
        """``subject`` is dense, ``model`` what is being compressed."""
        self._models = subject.model, model
        self._job = job
        dense = stacks(subject.family.blocks(subject.model, job.scope))
        compressed = stacks(subject.family.blocks(model, job.scope))
        self._places = {
            block.name: (pair, index)
            for pair in zip(dense, compressed, strict=True)
            for index, block in enumerate(pair[1])
        }
        self._streams: TwoStreams

    def enter(self, block: Block) -> BlockDrift:
        """See ``DriftSource``."""
        pair, index = self._places[block.name]
        if index == 0:
            dense, compressed = (
                BlockStream(model, stack, self._job.calibration, self._job.batch_size)
                for model, stack in zip(self._models, pair, strict=True)
            )
            self._streams = TwoStreams(dense, compressed)
        self._streams.enter(index)
        return BlockDrift(self._streams, index)

    def leave(self, block: Block) -> None:
        """See ``DriftSource``; no block is sent through that nobody waits behind."""
        (_, stack), index = self._places[block.name]
        if index + 1 < len(stack):
            self._streams.leave(index)


def open_drift(subject: LanguageModel, model: PreTrainedModel, job: CompressionJob) -> DriftSource:
    """The drift that the method asks for."""
    return DriftStreams(subject, model, job) if job.config.compensates else NoDrift()
