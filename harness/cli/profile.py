"""``harness profile``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, get_args

from rich.table import Table

from harness.assets.aliases import DEFAULT_MODEL
from harness.cli.compressing import RATIOS, add_options_of_plugins
from harness.cli.defaults import DEFAULT_METHOD
from harness.cli.display import console, quiet_libraries, tracker
from harness.cli.options import AtLeast
from harness.cli.plugin_options import chosen
from harness.compression.compressor import Compressor, compressors
from harness.plugins.options import configure
from harness.records.spec import Dtype, Scope, require_ratio
from harness.support.markdown import escape, markdown_table

if TYPE_CHECKING:
    from harness.profile.measure import Setting
    from harness.profile.table import Profile, Row

STANDARD = [0.2, 0.4, 0.6, 0.8]
COUNTED = (
    "method", "removed", "parameters", "bytes", "MACs", "FLOPs", "attention FLOPs", "KV bytes",
    "latent KV",
)  # fmt: skip
MEASURED = ("prefill tokens/s", "decode tokens/s", "peak bytes")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which model, methods and workload; and the options of every method."""
    add = parser.add_argument
    add("--model", default=DEFAULT_MODEL, help="as for run; no weights are read")
    add(
        "--method",
        nargs="+",
        default=[DEFAULT_METHOD],
        help=f"any of {', '.join(compressors.names())}",
    )
    add(
        "--ratio",
        nargs="+",
        type=float,
        default=STANDARD,
        help=f"shares of parameters to remove, {RATIOS}",
    )
    add(
        "--scope",
        choices=get_args(Scope),
        default="language",
        help="compress the decoder, the vision tower, or both",
    )
    add("--batch", action=AtLeast, least=1, type=int, default=4, help="sequences")
    add(
        "--sequence",
        action=AtLeast,
        least=1,
        type=int,
        default=argparse.SUPPRESS,
        standard="2048, or as many as the model has positions",
        help="tokens of each",
    )
    add("--dtype", choices=get_args(Dtype), default="bfloat16", help="of weights and cache")
    add("--measure", action="store_true", help="also run each variant, with random weights")
    add(
        "--device",
        default=argparse.SUPPRESS,
        help="torch device to measure on (default cuda where there is one, else cpu)",
    )
    add(
        "--runs",
        action=AtLeast,
        least=1,
        type=int,
        default=5,
        help="timed runs, of which the median counts",
    )
    add("--compile", action="store_true", help="measure under torch.compile")
    add("--streamline", action="store_true", help="measure with fewer operations per factor")
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--json", action="store_true", help="print exact numbers as JSON")
    either.add_argument("--markdown", action="store_true", help="print a markdown table")


def add_plugin_arguments(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Those of methods (see ``compressing.add_options_of_plugins``)."""
    add_options_of_plugins(parser, argv, ("method",))


def execute(arguments: argparse.Namespace) -> int:
    """Count, measure if asked, print."""
    from harness.profile.table import Request, profile  # noqa: PLC0415

    quiet_libraries()
    for ratio in arguments.ratio:
        require_ratio(ratio)
    found = profile(
        Request(
            model=arguments.model,
            methods=_methods(arguments),
            ratios=list(dict.fromkeys(arguments.ratio)),
            batch=arguments.batch,
            sequence=getattr(arguments, "sequence", None),
            scope=arguments.scope,
            dtype=arguments.dtype,
            setting=_setting(arguments) if arguments.measure else None,
        ),
        tracker(),
    )
    if arguments.json:
        sys.stdout.write(json.dumps(_document(found), indent=1) + "\n")
    elif arguments.markdown:
        sys.stdout.write(_markdown(found))
    else:
        table = Table(title=_title(found))
        for heading in _headings(found):
            table.add_column(heading, justify="left" if heading == "method" else "right")
        for line in _lines(found):
            table.add_row(*line)
        console(200).print(table)
    return 0


def _methods(arguments: argparse.Namespace) -> dict[str, tuple[Compressor[Any], Any]]:
    from harness.cli.request import option_classes  # noqa: PLC0415

    plugins = {name: compressors.get(name) for name in arguments.method}
    written = dict(zip(plugins, plugins, strict=True))
    given = chosen(arguments, "method", option_classes(compressors), written)
    return {
        name: (plugin, configure(plugin.config, given[name], name))
        for name, plugin in plugins.items()
    }


def _setting(arguments: argparse.Namespace) -> Setting:
    from harness.cli.request import usable_device  # noqa: PLC0415
    from harness.profile.measure import Setting  # noqa: PLC0415

    device = usable_device(vars(arguments).get("device"))
    return Setting(device, arguments.runs, arguments.compile, arguments.streamline)


def _title(found: Profile) -> str:
    load = found.workload
    return f"{found.model}, {load.batch} x {load.sequence} tokens, {found.dtype}"


def _headings(found: Profile) -> tuple[str, ...]:
    return COUNTED + MEASURED * any(row.measured for row in found.rows)


def _lines(found: Profile) -> list[list[str]]:
    """One for each row, and below it what the paper's Table 2 counts and prints."""
    width = len(_headings(found))
    lines = [line for row in found.rows for line in (_line(row), *_published(row))]
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


def _markdown(found: Profile) -> str:
    headings = _headings(found)
    rule = "| :-- |" + " --: |" * (len(headings) - 1)
    rows = ([escape(cell) for cell in line] for line in _lines(found))
    table = markdown_table(headings, rule, rows)
    return "\n".join([escape(_title(found)), "", *table, ""])


def _document(found: Profile) -> dict[str, Any]:
    return {
        "model": found.model,
        "dtype": found.dtype,
        **asdict(found.workload),
        "rows": [_entry(row) for row in found.rows],
    }


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
