"""What came out, written again after every measurement."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.support.files import write_file
from harness.support.markdown import markdown_table

Row = Mapping[str, str | int | float | None]


@dataclass
class Report:
    """Rows by step, and what was left out; ``facts`` say where and how."""

    folder: Path
    facts: dict[str, object]
    steps: Mapping[str, str]
    rows: dict[str, list[Row]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    left_out: list[dict[str, str]] = field(default_factory=list)
    begun: float = field(default_factory=time.monotonic)

    def add(self, step: str, row: Row) -> None:
        self.rows.setdefault(step, []).append(row)
        said = ", ".join(f"{key} {_cell(value)}" for key, value in row.items() if value is not None)
        print(f"{step}: {said}", flush=True)
        self.write()

    def leave_out(self, step: str, what: str, reason: str) -> None:
        self.left_out.append({"step": step, "what": what, "reason": reason})
        print(f"{step}: left out {what} ({reason})", flush=True)
        self.write()

    def step_took(self, step: str, seconds: float) -> None:
        self.rows.setdefault(step, [])
        self.seconds[step] = round(seconds, 1)
        self.write()

    @property
    def errors(self) -> list[dict[str, str]]:
        """What was left out for another reason than time and memory."""
        return [entry for entry in self.left_out if entry["reason"].startswith("error")]

    def write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        content = {
            **self.facts,
            "seconds": round(time.monotonic() - self.begun, 1),
            "steps": {
                step: {
                    "what": what,
                    "seconds": self.seconds.get(step),
                    "rows": self.rows.get(step, []),
                }
                for step, what in self.steps.items()
            },
            "left_out": self.left_out,
        }
        write_file(self.folder / "gpu.json", json.dumps(content, indent=1, allow_nan=False) + "\n")
        write_file(self.folder / "gpu.md", self.markdown())

    def markdown(self) -> str:
        lines = [", ".join(f"{key}: {value}" for key, value in self.facts.items()), ""]
        for step, what in self.steps.items():
            lines += [f"## {step}", "", what, ""]
            if rows := self.rows.get(step):
                whole = {key: value for row in rows for key, value in row.items()}
                rule = ("---" if isinstance(value, str) else "--:" for value in whole.values())
                cells = ([_cell(row.get(key)) for key in whole] for row in rows)
                lines += [*markdown_table(list(whole), f"|{'|'.join(rule)}|", cells), ""]
            else:
                lines += ["Nothing was measured.", ""]
        lines += ["## Left out", ""]
        if self.left_out:
            cells = (list(entry.values()) for entry in self.left_out)
            lines += markdown_table(("step", "what", "why"), "|---|---|---|", cells)
        else:
            lines.append("Nothing.")
        return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
