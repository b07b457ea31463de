"""Commands that write: what each begins with, is asked, and leaves."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from harness.checkpoints.manifest import check_saved
from harness.checkpoints.saved_record import read_saved_record
from harness.gate.baseline import read_baseline
from harness.records import store
from harness.records.record import RunRecord
from tests.assets.tiny_gguf import random_model, write_gguf
from tests.gate.records import draws, perplexity, shifted
from tests.helpers.board_records import make_record

State = Mapping[str, object]


class Writing(NamedTuple):
    """A command that writes below a folder.

    Attributes:
        prepare: makes what it begins with.
        arguments: of the command.
        state: everything below the folder that a reader would see, checked and without times;
            fails where it is torn.
    """

    prepare: Callable[[Path], None]
    arguments: Callable[[Path], list[object]]
    state: Callable[[Path], State]


def commands(model: Path, texts: Path) -> dict[str, Writing]:
    """By name, for a tiny ``model``."""
    cells = [
        *("--calibration", texts / "calibration.txt", "--tasks"),
        f"wikitext2={texts / 'evaluation.txt'}",
    ]
    small = ["--samples", 4, "--length", 16]

    def run(folder: Path) -> list[object]:
        return ["run", "--model", model, *cells, *small, "--window", 32, "--method", "svd",
                "--output", folder / "results"]  # fmt: skip

    def compress(folder: Path) -> list[object]:
        return ["compress", "--model", model, "--method", "svd", "--ratio", 0.3, *cells[:2],
                *small, "--save", folder / "small", "--force"]  # fmt: skip

    def sweep(folder: Path) -> list[object]:
        recipe = folder.parent / "recipe.yaml"
        recipe.write_text(
            json.dumps(
                {
                    "models": [str(model)],
                    "methods": [{"name": "svd", "options": {"propagation": "original"}}],
                    "ratios": [0.3, 0.5],
                    "tasks": [
                        {
                            "name": "wikitext2",
                            "data": str(texts / "evaluation.txt"),
                            "options": {"window": 32},
                        }
                    ],
                    "calibration": {
                        "text": str(texts / "calibration.txt"),
                        "samples": 4,
                        "length": 16,
                    },
                }
            )
        )
        return ["sweep", recipe, "--output", folder / "results"]

    return {
        "leaderboard": Writing(_records_and_old_board, _board, _board_state),
        "accept": Writing(_baseline, _accept, _baseline_state),
        "calibrate": Writing(_baseline, _calibrate, _baseline_state),
        "merge": Writing(_two_folders, _merge, _record_state),
        "run": Writing(_nothing, run, _record_state),
        "sweep": Writing(_nothing, sweep, _record_state),
        "compress": Writing(_nothing, compress, _saved_state),
        "fetch": Writing(_gguf, lambda folder: _fetch(folder, cells), _cache_state),
    }


def _nothing(folder: Path) -> None:
    folder.mkdir(parents=True)


def _records_and_old_board(folder: Path) -> None:
    store.save(make_record(run_id="a" * 16), folder / "results")
    store.save(make_record(21.0, ratio=0.1, run_id="b" * 16), folder / "results")
    for name in ("leaderboard.md", "leaderboard.json", "leaderboard.csv"):
        (folder / "board").mkdir(exist_ok=True)
        (folder / "board" / name).write_text("as it was")


def _board(folder: Path) -> list[object]:
    return ["leaderboard", "--results", folder / "results", "--output", folder / "board",
            "--format", "md", "json", "csv"]  # fmt: skip


def _board_state(folder: Path) -> State:
    board = {
        path.name: path.read_bytes() for path in (folder / "board").glob("*") if _is_shown(path)
    }
    return board | _record_state(folder)


def _baseline(folder: Path) -> None:
    for record in draws():
        store.save(record, folder.parent / "draws")
    store.save(perplexity(shifted(0.1, 0.01)), folder.parent / "changed")
    folder.mkdir()
    (folder / "gate.json").write_bytes(_old_baseline(folder.parent))


def _old_baseline(base: Path) -> bytes:
    from harness.gate.baseline import baseline_text
    from harness.gate.calibrate import calibrated

    records, _ = store.load_all(base / "draws")
    return baseline_text(calibrated(records, 0.02)).encode()


def _accept(folder: Path) -> list[object]:
    return ["gate", "accept", "--results", folder.parent / "changed",
            "--baseline", folder / "gate.json"]  # fmt: skip


def _calibrate(folder: Path) -> list[object]:
    return ["gate", "calibrate", "--results", folder.parent / "draws",
            "--baseline", folder / "gate.json"]  # fmt: skip


def _baseline_state(folder: Path) -> State:
    read_baseline(folder / "gate.json")
    return {"gate.json": (folder / "gate.json").read_bytes()}


def _two_folders(folder: Path) -> None:
    for name, ids in (("one", "ab"), ("two", "bc")):
        for letter in ids:
            record = make_record(ratio=ord(letter) / 1000, run_id=letter * 16)
            store.save(record, folder.parent / name)
    store.save(make_record(ratio=0.5, run_id="d" * 16), folder / "results")


def _merge(folder: Path) -> list[object]:
    return ["merge", folder.parent / "one", folder.parent / "two",
            "--output", folder / "results"]  # fmt: skip


def _record_state(folder: Path) -> State:
    found: dict[str, object] = {}
    results = folder / "results"
    for record in store.scan(results) if results.is_dir() else ():
        assert isinstance(record, RunRecord), record
        found[record.run_id] = (
            record.status,
            [(metric.name, metric.value) for metric in record.result.metrics]
            if record.result
            else record.error,
        )
    return found


def _saved_state(folder: Path) -> State:
    if not (folder / "small").exists():
        return {}
    check_saved(folder / "small")
    saved = read_saved_record(folder / "small")
    return {"small": (saved.compression.parameters, saved.origin.compression_digest)}


def _gguf(folder: Path) -> None:
    write_gguf(folder.parent / "model.gguf", random_model("llama", tied=True))
    folder.mkdir()


def _fetch(folder: Path, cells: list[object]) -> list[object]:
    return ["fetch", "--model", folder.parent / "model.gguf", *cells]


def _cache_state(folder: Path) -> State:
    from harness.assets.manifests import fault

    entries = [path for path in folder.glob("models/*") if _is_shown(path)]
    return {path.name: fault(path, None) for path in entries}


def _is_shown(path: Path) -> bool:
    return not path.name.startswith(".")
