"""Time to compress SmolLM2-135M, against that of the calibration's forward passes alone.

Real weights and real text. For each method, the dense model first runs over the calibration with
nothing watching, then the whole compression (statistics, factors, installation) is timed, then the
compressed model runs over the calibration too: under propagation ``sequential`` each block runs
twice, dense to be looked at and compressed to feed the next, so that both passes are needed
whatever the method does. Every stage is printed.

Passes and statistics grow with the number of tokens, factorisation does not. With fewer tokens
than 64 sequences of 2048 its share is too large; a last line, marked as an estimate, then says what
the measured parts come to at that size with all 30 blocks: blocks are equal, but nothing waits
behind the last one, so that it is not sent through once compressed. At least 8192 tokens are
needed, as many as the joint fit of the MLP reads.

Time is that of the processor, on one thread: on a machine that others use too, the clock on the
wall measures them. ``--wall`` takes the wall's all the same.

    python benchmarks/whole_compression.py --sequences 8 --blocks 3
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, get_args
from unittest.mock import patch

import torch
from threadpoolctl import threadpool_limits
from transformers import PreTrainedModel

import harness
from harness.calibration.sources import draw, resolve_calibration
from harness.calibration.text import Calibration
from harness.compression import pipeline as compression
from harness.compression.compressor import Compressor, Propagation, compressors
from harness.compression.job import CompressionJob
from harness.compression.pipeline import compress_model
from harness.models.language_model import LanguageModel
from harness.plugins.options import configure
from harness.records.spec import CalibrationSpec
from harness.statistics.block_stream import BlockStream

Clock = Callable[[], float]

BLOCKS = 30
PAPER_TOKENS = 64 * 2048
FEWEST_TOKENS = 8192
STAGES = {
    "enter": "embeddings, masks",
    "measure": "dense blocks, watched",
    "collect": "dense model, watched",
    "advance": "compressed blocks",
    "compress": "factorisation",
    "rest": "reports, installation",
}
IN_TOKENS = ("enter", "measure", "collect", "advance")
"""Stages that take twice as long for twice the tokens."""


@dataclass(frozen=True)
class Race:
    """Seconds of one method: of the model's own passes and of each stage of the compression."""

    dense: float
    compressed: float
    stages: Mapping[str, float]

    @property
    def whole(self) -> float:
        return sum(self.stages.values())

    def passes(self, propagation: Propagation) -> float:
        """What the propagation makes run, with nothing else."""
        return self.dense + (self.compressed if propagation == "sequential" else 0.0)

    def scaled(self, tokens: float, blocks: int) -> Race:
        """With ``tokens`` times the tokens, and all blocks in the place of ``blocks``."""
        more = BLOCKS / blocks
        stages = {
            name: seconds * more * (tokens if name in IN_TOKENS else 1)
            for name, seconds in self.stages.items()
        }
        if "advance" in stages:
            stages["advance"] *= (BLOCKS - 1) / BLOCKS * blocks / (blocks - 1)
        return Race(self.dense * more * tokens, self.compressed * more * tokens, stages)


class Stopwatch:
    """Sums the seconds that calls take, by stage."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def watching(self, owner: Any, name: str, stage: str) -> Iterator[None]:
        """Calls of ``owner.name`` count for ``stage``."""
        own = getattr(owner, name)

        def timed(*arguments: Any, **keywords: Any) -> Any:
            start = self._clock()
            try:
                return own(*arguments, **keywords)
            finally:
                self.seconds[stage] += self._clock() - start

        with patch.object(owner, name, timed):
            yield


def subject(blocks: int) -> LanguageModel:
    """The first ``blocks`` blocks of the model."""
    found = harness.load_model("smollm2-135m")
    found.model.model.layers = found.model.model.layers[:blocks]
    found.model.config.num_hidden_layers = blocks
    return found


@torch.no_grad()
def forward(model: PreTrainedModel, calibration: Calibration, batch: int, clock: Clock) -> float:
    start = clock()
    for inputs in calibration.batches(batch, model.device):
        model.base_model(**inputs, use_cache=False)
    return clock() - start


def race(
    dense: LanguageModel,
    method: str,
    options: argparse.Namespace,
    calibration: Calibration,
    clock: Clock,
) -> Race:
    compressor: Compressor = compressors.get(method)
    config = configure(compressor.config, {"propagation": options.propagation}, method)
    watch = Stopwatch(clock)
    before = forward(dense.model, calibration, options.batch, clock)
    with ExitStack() as stack:
        for owner, name, stage in (
            (BlockStream, "__init__", "enter"),
            (BlockStream, "measure", "measure"),
            (BlockStream, "advance", "advance"),
            (compression, "collect", "collect"),
            (type(compressor), "compress", "compress"),
        ):
            stack.enter_context(watch.watching(owner, name, stage))
        start = clock()
        small = compress_model(
            dense,
            CompressionJob(
                method, compressor, config, options.ratio, calibration, batch_size=options.batch
            ),
        )
        whole = clock() - start
    watch.seconds["rest"] = whole - sum(watch.seconds.values())
    compressed = forward(small.model, calibration, options.batch, clock)
    after = forward(dense.model, calibration, options.batch, clock)
    return Race((before + after) / 2, compressed, dict(watch.seconds))


def median(rounds: list[Race]) -> Race:
    return Race(
        statistics.median(one.dense for one in rounds),
        statistics.median(one.compressed for one in rounds),
        {name: statistics.median(one.stages[name] for one in rounds) for name in rounds[0].stages},
    )


def ratios(found: Race, propagation: Propagation) -> str:
    said = f"{found.whole / found.dense:.2f} dense passes"
    if propagation == "sequential":
        said += f", {found.whole / found.passes(propagation):.2f} of the two passes it needs"
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sequences", type=int, default=64)
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--blocks", type=int, default=BLOCKS, help="of the model's 30, at least 2")
    parser.add_argument("--batch", type=int, default=8, help="sequences at a time")
    parser.add_argument("--methods", nargs="+", default=["asvd-rootcov", "latentllm"])
    parser.add_argument("--ratio", type=float, default=0.3, help="share of parameters removed")
    parser.add_argument("--propagation", choices=get_args(Propagation), default="sequential")
    parser.add_argument("--rounds", type=int, default=1, help="of all methods in turn")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--wall", action="store_true", help="time on the wall, not the processor's")
    options = parser.parse_args()
    tokens = options.sequences * options.length
    if tokens < FEWEST_TOKENS or options.blocks < 2:
        parser.error(f"take at least {FEWEST_TOKENS} tokens and 2 blocks")
    torch.set_num_threads(options.threads)
    threadpool_limits(options.threads)  # of scipy's LAPACK
    clock = time.perf_counter if options.wall else time.process_time
    dense = subject(options.blocks)
    spec = CalibrationSpec(text="wiki-excerpt", samples=options.sequences, length=options.length)
    calibration = draw(resolve_calibration(spec), dense, spec)
    print(
        f"smollm2-135m, {options.blocks} blocks, {options.sequences} x {options.length} tokens, "
        f"batches of {options.batch}, ratio {options.ratio:g}, propagation {options.propagation}, "
        f"{options.threads} thread(s), {'wall' if options.wall else 'processor'} time"
    )
    if tokens < PAPER_TOKENS:
        print(f"factorisation weighs {PAPER_TOKENS / tokens:.1f} times what it does at 64 x 2048")
    forward(dense.model, calibration, options.batch, clock)
    rounds: dict[str, list[Race]] = {method: [] for method in options.methods}
    for _ in range(options.rounds):
        for method, races in rounds.items():
            races.append(race(dense, method, options, calibration, clock))
    for method, races in rounds.items():
        found = median(races)
        print(f"\n{method}\n{'dense forward':24s} {found.dense:8.2f} s")
        print(f"{'compressed forward':24s} {found.compressed:8.2f} s")
        for name, seconds in found.stages.items():
            print(f"  {STAGES[name]:22s} {seconds:8.2f} s")
        print(f"{'whole compression':24s} {found.whole:8.2f} s", end=" = ")
        print(ratios(found, options.propagation))
        if tokens < PAPER_TOKENS or options.blocks < BLOCKS:
            scaled = found.scaled(PAPER_TOKENS / tokens, options.blocks)
            print(
                f"estimate, not measured, for 64 x 2048 and {BLOCKS} blocks: "
                f"{ratios(scaled, options.propagation)}",
                flush=True,
            )


if __name__ == "__main__":
    main()
