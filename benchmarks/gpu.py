"""What this repository has not run on a GPU, in one command, on one card, within a time.

In this order: whether factor form is the dense equivalent in bfloat16; prefill and decode of the
shapes of OPT-6.7B, Llama-3-8B and Qwen2.5-VL-7B, dense and with 20 to 80 % removed, eager and
compiled; bytes of the KV cache as the allocator sees them; whole compressions on 64 x 2048 tokens.
Weights and tokens are random, nothing is fetched. Each step has a share of the time, and what it
leaves goes to the next; what did not fit is named. ``gpu.json`` and ``gpu.md`` are written again
after every measurement.

    python benchmarks/gpu.py --minutes 10 --output gpu
    python benchmarks/gpu.py --device cpu --tiny --minutes 2
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import torch
from gpu_kit import cache, compression, identity, speed
from gpu_kit.budget import Step, Unit
from gpu_kit.report import Report
from gpu_kit.subjects import smallest, subjects

from harness.records.environment import describe

STEPS = {
    "identity": "Relative error of the logits in bfloat16 against the same factors in float32: of "
    "factor form, and of the dense model with the same matrices. `in float32` is how far those two "
    "are apart without bfloat16, `same token` the share of positions where both choose the same.",
    "eager": "Tokens a second of all sequences together, medians.",
    "compiled": "The same through torch.compile, beside eager, of a few blocks.",
    "cache": "Bytes of keys and values, or of latents, after a prompt.",
    "compression": "A whole compression on random tokens; where blocks are left out, times are of "
    "those that are there.",
}
SHARES = {"identity": 0.05, "eager": 0.32, "compiled": 0.28, "cache": 0.10, "compression": 0.25}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="of all steps together")
    parser.add_argument("--output", type=Path, default=Path("gpu"), help="folder of what came out")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="try the kit itself, on tiny shapes")
    options = parser.parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("there is no CUDA device; --device cpu --tiny tries the kit without one")
    if options.device == "cpu" and not options.tiny:
        parser.error("models of 7B take a GPU; pass --tiny too")
    if not options.minutes > 0:
        parser.error("--minutes must be above 0")
    device, tiny = torch.device(options.device), options.tiny
    report = Report(options.output, facts(options), STEPS)
    whole = options.minutes * 60
    share = 0.0
    for name, units in plan(device, tiny=tiny).items():
        share += SHARES[name]
        Step(name, report.begun + share * whole, report).run(list(units()))
    print(f"{time.monotonic() - report.begun:.0f} s; {options.output / 'gpu.md'}")
    return 1 if report.errors else 0


def plan(device: torch.device, *, tiny: bool) -> dict[str, Callable[[], Iterable[Unit]]]:
    chosen = subjects(tiny=tiny)
    work = speed.Workload(
        device,
        prompt=16 if tiny else 512,
        steps=2 if tiny else 16,
        runs=1 if tiny else 3,
        backend="aot_eager" if tiny else "inductor",  # which needs a compiler
        compiled_blocks=2,
    )
    length, sequences = (32, 8) if tiny else (2048, 64)
    parts = [smallest(tiny=tiny), *(subject.cut(1) for subject in chosen)]
    return {
        "identity": lambda: identity.units(chosen, device, length=16 if tiny else 256),
        "eager": lambda: speed.eager_units(chosen, work),
        "compiled": lambda: speed.compiled_units(chosen, work),
        "cache": lambda: cache.units(chosen, device, prompt=16 if tiny else 1024),
        "compression": lambda: compression.units(parts, device, sequences=sequences, length=length),
    }


def facts(options: argparse.Namespace) -> dict[str, object]:
    environment = describe(options.device, offloaded=False)
    return {
        "device": environment.device_name,
        "dtype": "bfloat16",
        "date": datetime.now(UTC).date().isoformat(),
        "harness": environment.harness,
        "commit": environment.commit,
        "torch": torch.__version__,
        "minutes": options.minutes,
        "tiny": options.tiny,
    }


if __name__ == "__main__":
    sys.exit(main())
