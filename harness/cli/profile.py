"""``harness profile``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

from harness.assets.aliases import DEFAULT_MODEL
from harness.cli.compressing import add_options_of_plugins
from harness.cli.defaults import DEFAULT_METHOD
from harness.cli.display import quiet_libraries
from harness.cli.options import InRange
from harness.cli.plugin_options import chosen
from harness.cli.profile_output import profile_document, profile_grid, profile_markdown
from harness.cli.progress import ShownProgress
from harness.compression.compressor import Compressor, compressors
from harness.plugins.options import configure
from harness.records.limits import Count, Repetitions
from harness.records.spec import Dtype, Ratio, Scope
from harness.support.tables import print_grid

if TYPE_CHECKING:
    from harness.profile.measure import Setting

STANDARD = [0.2, 0.4, 0.6, 0.8]


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
        action=InRange,
        hint=Ratio,
        default=STANDARD,
        help="shares of parameters to remove",
    )
    add(
        "--scope",
        choices=get_args(Scope),
        default="language",
        help="compress the decoder, the vision tower, or both",
    )
    add("--batch", action=InRange, hint=Count, default=4, help="sequences")
    add(
        "--sequence",
        action=InRange,
        hint=Count,
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
        action=InRange,
        hint=Repetitions,
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
    from harness.profile.table import ProfileRequest, profile  # noqa: PLC0415

    quiet_libraries()
    counts = profile(
        ProfileRequest(
            model=arguments.model,
            methods=_methods(arguments),
            ratios=list(dict.fromkeys(arguments.ratio)),
            batch=arguments.batch,
            sequence=getattr(arguments, "sequence", None),
            scope=arguments.scope,
            dtype=arguments.dtype,
            setting=_setting(arguments) if arguments.measure else None,
        ),
        ShownProgress().track,
    )
    if arguments.json:
        sys.stdout.write(json.dumps(profile_document(counts), indent=1) + "\n")
    elif arguments.markdown:
        sys.stdout.write(profile_markdown(counts))
    else:
        print_grid(profile_grid(counts))
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
