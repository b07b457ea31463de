"""The model card: what the model is, what it measured, how to open it."""

from __future__ import annotations

from harness.checkpoints.saved_record import SavedRecord
from harness.records.record import RunRecord
from harness.records.spec import CalibrationSpec

_TEXT = """---
library_name: transformers
base_model: {model}
tags: [low-rank, compressed, harness]
---

# {model}, {label} at {ratio:.0%}

A `{family}` model whose linear layers are stored as low-rank factors, made from `{model}`
(`{fingerprint}`) without training by harness {version}.

| | dense | compressed | removed |
|---|--:|--:|--:|
| parameters of the model | {before:,} | {after:,} | {ratio_model:.2%} |
| of the compressed layers | | | {ratio_layers:.2%} |
| bytes | {bytes_before:,} | {bytes_after:,} | {ratio_bytes:.2%} |

Scope `{scope}`, weights in {dtype}, calibrated on {calibration}.

## Measured

{results}

## Open it

```python
import harness
from transformers import {auto}

model = {auto}.from_pretrained("PATH")
```

or `harness.load("PATH")`, which also checks every file's SHA-256; `harness run --model PATH`
measures it, `harness chat PATH` talks to it, and `harness export PATH --dense OUT` writes an
ordinary `{family}` checkpoint of the dense size for software that does not know this format.
`record.json` says how every layer was compressed and holds the results in full.

## Licence

The weights are derived from `{model}`, whose licence applies to them and to what is made with them.
"""


def model_card(saved: SavedRecord) -> str:
    """Markdown with the front matter that model hubs read."""
    origin, done = saved.origin, saved.compression
    samples = "" if origin.calibration is None else f"{_samples(origin.calibration)} of "
    return _TEXT.format(
        model=origin.model.reference,
        fingerprint=origin.model.fingerprint[:12],
        family=origin.model.family,
        label=done.label,
        ratio=origin.ratio,
        version=saved.environment.harness,
        before=origin.model.parameters,
        after=done.parameters,
        ratio_model=done.ratio_model,
        ratio_layers=done.ratio_layers,
        bytes_before=origin.model.bytes,
        bytes_after=done.bytes,
        ratio_bytes=1 - done.bytes / origin.model.bytes,
        scope=origin.scope,
        dtype=origin.dtype,
        calibration=f"{samples}`{origin.data.reference}`",
        results=_results(saved.records),
        auto="AutoModelForImageTextToText"
        if origin.model.image_processor
        else "AutoModelForCausalLM",
    )


def _results(records: tuple[RunRecord, ...]) -> str:
    measured = [(record, record.result.metrics[0]) for record in records if record.result]
    if not measured:
        return "Nothing yet."
    rows = ["| task | metric | value | s.e. | n |", "|---|---|--:|--:|--:|"]
    for record, metric in measured:
        task, limit = record.spec.task.name, record.spec.task.limit
        spread = "" if metric.stderr is None else f"{metric.stderr:.3g}"
        rows.append(
            f"| {task}{f' (limited to {limit})' if limit else ''} | {metric.name} "
            f"| {metric.value:.4g} | {spread} | {metric.n:,} {metric.unit} |"
        )
    return "\n".join(rows)


def _samples(spec: CalibrationSpec) -> str:
    written = f"{spec.self_samples} samples of the model's own and " * bool(spec.self_samples)
    return f"{written}{spec.samples} samples"
