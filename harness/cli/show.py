"""``harness show``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from harness.errors import UsageError
from harness.records import store
from harness.records.record import CompressionFacts, RunRecord
from harness.support.tables import Grid, print_grid
from harness.support.terminal import one_line

LAYERS = ("layer", "form", "shape", "rank", "parameters", "relative loss", "max |T|")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which record."""
    parser.add_argument("record", help="path of a record, or a run id in --results")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of records")
    parser.add_argument("--json", action="store_true", help="print the record as JSON")


def execute(arguments: argparse.Namespace) -> int:
    """Print one record."""
    record = load(arguments.record, arguments.results)
    if arguments.json:
        sys.stdout.write(record.model_dump_json(indent=1) + "\n")
        return 0
    rows = _summary(record)
    width = max(map(len, rows))
    sys.stdout.write(f"record {record.run_id}\n")
    for name, text in rows.items():
        sys.stdout.write(f"{name:<{width}}  {text}\n")
    if record.compression:
        print_grid(_layers(record.compression))
    return 0


def load(name: str, results: Path) -> RunRecord:
    """The record at the path ``name``, or that of the run id ``name`` in ``results``.

    Raises:
        UsageError: there is none, or it is damaged.
    """
    path = Path(name)
    if path.is_dir():
        raise UsageError(f"{name} is a folder; pass one of the records in it")
    if not path.suffix:
        path = results / f"{name}.json"
        if not path.exists():
            raise UsageError(f"there is no record {name} in {results}; check the id and --results")
    return store.load(path)


def _summary(record: RunRecord) -> dict[str, str]:
    done, spec, environment = record.compression, record.spec, record.environment
    rows = {
        "status": record.status if record.error is None else f"{record.status}: {record.error}",
        "model": f"{spec.model} ({record.model.fingerprint[:12]}), {spec.dtype}",
        "images": record.model.image_processor or "none",
        "notes": "; ".join(record.model.remarks) or "none",
        "method": done.label if done else spec.method.name,
        "scope": spec.scope,
        "task": f"{spec.task.name}, data {record.data.reference} ({record.data.fingerprint[:12]})",
        "reference": record.reference or "this is one",
        "seconds": ", ".join(f"{stage} {took:.1f}" for stage, took in record.timings.items()),
        "peak memory": ", ".join(f"{k} {v / 1e6:.0f} MB" for k, v in record.peak_memory.items()),
        "where": f"{environment.device} ({environment.device_name}), {environment.platform}"
        + ", blocks on disk" * bool(environment.offloaded),
        "versions": ", ".join(f"{name} {number}" for name, number in environment.packages.items()),
        "created": record.created,
    }
    if record.training:
        rows["trained"] = record.training.sentence
    if environment.plugins:
        rows["plugins"] = "; ".join(f"{what}: {of}" for what, of in environment.plugins.items())
    if record.data.code:
        rows["code of the task"] = ", ".join(record.data.code)
    if done:
        rows["ratio"] = (
            f"asked {done.ratio_requested:g}, layers {done.ratio_layers:.4f}, "
            f"model {done.ratio_model:.4f}"
        )
        rows["size"] = f"{done.parameters:,} parameters, {done.bytes:,} bytes"
    if record.calibration and spec.calibration:
        length = spec.calibration.length
        size = f"{length} tokens" if length else "questions"
        written = spec.calibration.self_samples
        rows["calibration"] = (
            f"{spec.calibration.samples} x {size} of "
            f"{record.calibration.reference} ({record.calibration.fingerprint[:12]})"
            + f", {written} x {size} of its own"
            * bool(written)
        )
    for metric in record.result.metrics if record.result else ():
        spread = "" if metric.stderr is None else f" ± {metric.stderr:.4g}"
        name = f"{metric.name} {metric.slice}" if metric.slice else metric.name
        rows[name] = f"{metric.value:.6g}{spread} (n = {metric.n} {metric.unit})"
    for skipped in record.result.skipped if record.result else ():
        rows[f"skipped {skipped.id}"] = skipped.reason
    for caution in record.result.cautions if record.result else ():
        before = f"{rows[caution.effect]}; " if caution.effect in rows else ""
        rows[caution.effect] = before + caution.text
    return {one_line(name): one_line(text) for name, text in rows.items()}


def _layers(done: CompressionFacts) -> Grid:
    rows = [
        (
            layer.name,
            layer.form,
            f"{layer.shape[0]} x {layer.shape[1]}",
            str(layer.rank),
            f"{layer.parameters:,}",
            "" if layer.relative_loss is None else f"{layer.relative_loss:.3e}",
            "" if layer.interpolation_bound is None else f"{layer.interpolation_bound:.2f}",
        )
        for layer in done.layers
    ]
    return Grid(LAYERS, rows, "layers", LAYERS[2:])
