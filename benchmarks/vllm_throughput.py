"""How fast vLLM runs compressed models against the dense one, in one run, as ratios.

Runs in vLLM's environment (integrations/vllm/environment.sh), each model in a process of its own:
python benchmarks/vllm_throughput.py DENSE FOLDER [FOLDER ...]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

PREFILL = (8, 256)
"""Sequences and their lengths."""
DECODE = (1, 8, 32)
"""Sequences that are continued at once."""
NEW = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", help="the dense one first")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--eager", action="store_true", help="without torch.compile")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measured(options)))
        return
    # The dense model is measured before and after, so that the machine's own drift shows.
    models = [*options.models, options.models[0]]
    results = [in_process(model, options) for model in models]
    dense = {name: (results[0][name] + results[-1][name]) / 2 for name in results[0]}
    print("| model | " + " | ".join(dense) + " |")
    print("|---|" + "--:|" * len(dense))
    for model, seconds in zip(models, results, strict=True):
        cells = (
            f"{seconds[name] * 1e3:.0f} ms ({dense[name] / seconds[name]:.2f})" for name in dense
        )
        print(f"| {model} | " + " | ".join(cells) + " |", flush=True)


def in_process(model: str, options: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, __file__, model, "--measure", "--dtype", options.dtype]
    command += ["--repeats", str(options.repeats), *(["--eager"] if options.eager else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measured(options: argparse.Namespace) -> dict[str, float]:
    """Medians in seconds: of the first token of a batch, and of each further step."""
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    from vllm import LLM, SamplingParams  # noqa: PLC0415

    llm = LLM(
        options.models[0],
        dtype=options.dtype,
        enforce_eager=options.eager,
        max_model_len=512,
        max_num_seqs=32,
        max_num_batched_tokens=PREFILL[0] * PREFILL[1],
        enable_prefix_caching=False,
    )

    def seconds(sequences: int, length: int, new: int) -> float:
        prompts = [
            {"prompt_token_ids": [100 + (17 * i + 31 * j) % 1900 for j in range(length)]}
            for i in range(sequences)
        ]
        greedy = SamplingParams(temperature=0, max_tokens=new, ignore_eos=True)
        start = time.perf_counter()
        llm.generate(prompts, greedy, use_tqdm=False)
        return time.perf_counter() - start

    def median(measure: Callable[[], float]) -> float:
        measure()
        return statistics.median(measure() for _ in range(options.repeats))

    results = {f"prefill {PREFILL[0]} x {PREFILL[1]}": median(lambda: seconds(*PREFILL, 1))}
    for batch in DECODE:
        results[f"decode {batch}"] = median(
            lambda batch=batch: (seconds(batch, 8, NEW + 1) - seconds(batch, 8, 1)) / NEW
        )
    llm.llm_engine.engine_core.shutdown()
    return results


if __name__ == "__main__":
    main()
