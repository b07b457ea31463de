"""A profile as a table, as markdown and as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from harness.support.markdown import escape, markdown_table
from harness.support.tables import Grid

if TYPE_CHECKING:
    from harness.profile.table import Profile, Row

COUNTED = (
    "method", "removed", "parameters", "bytes", "MACs", "FLOPs", "attention FLOPs", "KV bytes",
    "latent KV",
)  # fmt: skip
MEASURED = ("prefill tokens/s", "decode tokens/s", "peak bytes")


def profile_grid(profile: Profile) -> Grid:
    """``profile`` as a person reads it on a terminal."""
    headings = _headings(profile)
    return Grid(headings, list(_lines(profile)), _title(profile), headings[1:])


def profile_markdown(profile: Profile) -> str:
    """``profile`` as a markdown table below a title."""
    headings = _headings(profile)
    rule = "| :-- |" + " --: |" * (len(headings) - 1)
    rows = ([escape(cell) for cell in line] for line in _lines(profile))
    table = markdown_table(headings, rule, rows)
    return "\n".join([escape(_title(profile)), "", *table, ""])


def profile_document(profile: Profile) -> dict[str, Any]:
    """``profile`` as plain data for JSON, numbers exact."""
    return {
        "model": profile.model,
        "dtype": profile.dtype,
        **asdict(profile.workload),
        "rows": [_entry(row) for row in profile.rows],
    }


def _title(profile: Profile) -> str:
    workload = profile.workload
    return f"{profile.model}, {workload.batch} x {workload.sequence} tokens, {profile.dtype}"


def _headings(profile: Profile) -> tuple[str, ...]:
    return COUNTED + MEASURED * any(row.measured for row in profile.rows)


def _lines(profile: Profile) -> list[list[str]]:
    """One for each row, and below it what the paper's Table 2 counts and prints."""
    width = len(_headings(profile))
    lines = [line for row in profile.rows for line in (_line(row), *_published(row))]
    return [[*line, *[""] * (width - len(line))] for line in lines]


def _line(row: Row) -> list[str]:
    count, measured = row.count, row.measured
    numbers = (
        count.parameters, count.bytes, count.macs, count.flops, count.attention_flops,
        count.cache_bytes, count.latent_cache_bytes,
    )  # fmt: skip
    line = [row.method, f"{row.ratio:.0%}", *map(_short, numbers)]
    if measured is None:
        return line
    if isinstance(measured, str):
        return [*line, measured]
    decode = "none" if measured.decode is None else f"{measured.decode:.4g}"
    return [*line, f"{measured.prefill:.4g}", decode, _short(measured.peak_bytes)]


def _published(row: Row) -> list[list[str]]:
    from harness.profile.table2 import published_table2  # noqa: PLC0415

    if row.table2 is None:
        return []
    lines = [_as_printed("- as Table 2 counts", asdict(row.table2.printed()))]
    if printed := published_table2().get(row.ratio):
        speed = [f"{1000 * printed['tokens_per_s_k']:.0f} (A40)"] * (row.measured is not None)
        lines.append(_as_printed("- as Table 2 prints", printed) + speed)
    return lines


def _as_printed(name: str, columns: Mapping[str, float]) -> list[str]:
    size, cache = (f"{columns[key]:.2f}G" for key in ("param_bytes_G", "kv_cache_bytes_G"))
    macs, flops = (f"{columns[key]:.1f}T" for key in ("macs_T", "flops_T"))
    return [name, "", "", size, macs, flops, "", "", cache]


def _short(number: float) -> str:
    """Four digits and a decimal prefix."""
    for prefix in ("", "k", "M", "G", "T"):
        if number < 999.95:
            return f"{number:.4g}{prefix}"
        number /= 1000
    return f"{number:.4g}P"


def _entry(row: Row) -> dict[str, Any]:
    from harness.profile.table2 import published_table2  # noqa: PLC0415

    count = row.count
    entry = asdict(row) | asdict(count)
    entry |= {"flops": count.flops, "attention_flops": count.attention_flops}
    del entry["count"]
    if row.table2 is not None:
        entry["table2"] |= {
            "rounded": asdict(row.table2.printed()),
            "printed": published_table2().get(row.ratio),
        }
    return entry
