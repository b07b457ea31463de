"""Time from a folder of many records to a board in each format.

The records are like those of real runs: six models, three texts at nine ratios with seven methods
and several calibration seeds, each with the facts of 72 layers and 24 evaluated windows; a tenth
are accuracies over 1,000 questions. ``floor`` is the time to parse the same files as JSON and
nothing else.

    python benchmarks/board.py --records 10000
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.records import store
from harness.records.document import digest
from leaderboards.board import board
from leaderboards.formats import FORMATS

MODELS = ("opt-125m", "opt-350m", "opt-1.3b", "opt-2.7b", "opt-6.7b", "opt-13b")
METHODS = ("svd", "asvd-hessian", "asvd-l1", "asvd-l2", "asvd-cov", "asvd-rootcov", "latentllm")
TASKS = ("wikitext2", "ptb", "c4", "scienceqa")
RATIOS = tuple(step / 10 for step in range(1, 10))
LAYERS, WINDOWS, QUESTIONS = 72, 24, 1000
FORMATTED = ("md", "json", "html", "latex", "csv")


def document(number: int, cell: tuple[int, float, str, str, str], rng: random.Random) -> Any:
    seed, ratio, method, task, model = cell
    questions = task == "scienceqa"
    slices = ("NAT", "SOC", "LAN", "TXT", "IMG", "NO", "G1-6", "G7-12") if questions else ()
    share = rng.random()
    if questions:
        scores = [float(rng.random() < share) for _ in range(QUESTIONS)]
        samples = [
            {"id": f"{i}", "values": {"correct": score}, "answer": "The answer is B.",
             "slices": list(slices)} for i, score in enumerate(scores)
        ]  # fmt: skip
        value = statistics.fmean(scores)
    else:
        losses = [2 + share + rng.random() for _ in range(WINDOWS)]
        samples = [
            {"id": f"{i}", "values": {"nll": loss, "tokens": 2047.0}, "answer": None, "slices": []}
            for i, loss in enumerate(losses)
        ]
        value = math.exp(statistics.fmean(losses))
    metric = {
        "name": "accuracy[prompt=direct]" if questions else "perplexity_token@2048",
        "value": value, "stderr": 0.01 * value, "n": QUESTIONS if questions else WINDOWS,
        "unit": "questions" if questions else "windows", "higher_is_better": questions,
        "slice": None, "interval": [0.98 * value, 1.02 * value],
    }  # fmt: skip
    layers = [
        {"name": f"model.decoder.layers.{i // 6}.self_attn.q_proj", "form": "block-identity",
         "shape": [768, 768], "rank": 300, "parameters": 370800, "relative_loss": rng.random(),
         "interpolation_bound": 2 * rng.random()}
        for i in range(LAYERS)
    ]  # fmt: skip
    size = 125_000_000 * (1 + MODELS.index(model))
    return {
        "schema_version": 1, "run_id": f"{number:016x}", "status": "complete", "error": None,
        "spec": {
            "model": f"facebook/{model}", "method": {"name": method, "options": {
                "bias_update": "auto", "junction": "left", "propagation": "sequential"}},
            "ratio": ratio, "calibration": {"text": "c4", "samples": 64, "length": 2048,
                "sampling": "windows", "seed": seed},
            "task": {"name": task, "data": None, "limit": None, "options": {}},
            "scope": "language", "dtype": "float32", "seed": 0,
        },
        "model": {"reference": f"facebook/{model}", "fingerprint": digest(model), "family": "opt",
            "parameters": size, "bytes": 4 * size, "image_processor": None, "notes": [],
            "macs": size},
        "calibration": {"reference": "c4", "fingerprint": digest("c4"), "revision": None,
            "tokens": 131072},
        "compression": {"label": method, "ratio_requested": ratio, "ratio_layers": ratio,
            "ratio_model": 0.8 * ratio, "parameters": size, "bytes": 4 * size,
            "macs": int(size * (1 - 0.8 * ratio)), "layers": layers},
        "data": {"reference": task, "fingerprint": digest(task), "revision": None, "tokens": None},
        "result": {"metrics": [metric, *({**metric, "slice": one} for one in slices)],
            "samples": samples, "batch_size": 8, "skipped": []},
        "reference": None,
        "environment": {"harness": "0.1.0", "commit": None, "dirty": None, "python": "3.12.0",
            "platform": "Linux", "packages": {"torch": "2.13.0", "transformers": "5.23.0"},
            "device": "cuda", "device_name": "NVIDIA A40", "threads": 8},
        "timings": {"load": 3.0, "compress": 30.0, "evaluate": 20.0 + rng.random()},
        "peak_memory": {"host": 4_000_000_000}, "created": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip


def write(folder: Path, count: int) -> None:
    rng = random.Random(0)  # noqa: S311
    texts = list(itertools.product(RATIOS, METHODS, TASKS[:3], MODELS))
    questions = list(itertools.product(RATIOS, METHODS, TASKS[3:], MODELS))
    for number in range(count):
        cells, place = (texts, number - number // 10) if number % 10 else (questions, number // 10)
        seed, index = divmod(place, len(cells))
        content = document(number, (seed, *cells[index]), rng)
        content["digest"] = digest(content)
        text = json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False) + "\n"
        (folder / f"{number:016x}.json").write_text(text, encoding="utf-8")


def timed(what: str, work: Callable[[], Any]) -> Any:
    start, before = time.perf_counter(), os.times()
    result = work()
    after = os.times()
    busy = sum(after[:4]) - sum(before[:4])
    print(f"{what:<24}{time.perf_counter() - start:8.2f} s{busy:8.2f} s of processor")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="keep the records here, or take them from it")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not any(folder.iterdir()):
            timed("write the records", lambda: write(folder, arguments.records))
        paths = sorted(folder.glob("*.json"))
        size = sum(path.stat().st_size for path in paths)
        print(f"{len(paths):,} records, {size / 1e6:.0f} MB")
        timed("floor: json.loads", lambda: [json.loads(p.read_bytes()) and None for p in paths])
        ranked = timed("read, check, rank", lambda: board(store.scan(folder)))
        for name in FORMATTED:
            size = timed(name, lambda name=name: sum(len(c) for _, c in FORMATS[name](ranked)))
            print(f"{'':<24}{size / 1e6:8.2f} MB")
        command = ["harness", "leaderboard", "--results", folder, "--output", folder / "board"]
        whole = [*map(str, command), "--format", "html"]
        timed("harness leaderboard", lambda: subprocess.run(whole, check=True, capture_output=True))


if __name__ == "__main__":
    sys.exit(main())
