"""Options of the command line: what several commands share, and how their help reads."""

from __future__ import annotations

import argparse
import math
import textwrap
from typing import Any

from harness.errors import UsageError

Actions = argparse._SubParsersAction  # noqa: SLF001


def add_action(
    actions: Actions[argparse.ArgumentParser], name: str, summary: str
) -> argparse.ArgumentParser:
    """A parser for ``harness COMMAND NAME``."""
    parser = actions.add_parser(
        name,
        help=summary,
        description=summary.capitalize() + ".",
        formatter_class=Help,
        allow_abbrev=False,
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of errors")
    return parser


def add_offline(parser: argparse.ArgumentParser) -> None:
    """The option that ``harness.cli.main`` has obeyed before the command was imported."""
    parser.add_argument(
        "--offline",
        action="store_true",
        help="fetch nothing and never open a connection; also HARNESS_OFFLINE=1",
    )


def add_offload(parser: argparse.ArgumentParser) -> None:
    """The option for models bigger than memory."""
    parser.add_argument(
        "--offload",
        action="store_true",
        help="leave the model on disk and keep one block in memory at a time",
    )


def in_units(size: int) -> str:
    """``size`` bytes as a person reads them, e.g. ``98.4 MB``."""
    value = float(size)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} GB"


class Help(argparse.ArgumentDefaultsHelpFormatter):
    """Ends an explanation with range and default; paragraphs of an epilog stay as they are."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        default = getattr(action, "standard", None) or action.default
        notes = [f"{action.least} or more"] if isinstance(action, AtLeast) else []
        # Without a flag that is off, or an option that has no value, nothing happens.
        if action.option_strings and default not in (None, False, [], argparse.SUPPRESS):
            many = isinstance(default, (list, tuple))
            notes.append(f"default {' '.join(map(str, default)) if many else default}")
        return f"{action.help} ({'; '.join(notes)})" if action.help and notes else action.help

    def _split_lines(self, text: str, width: int) -> list[str]:
        # Names of options and methods have hyphens, and are searched for as they are.
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)


class AtLeast(argparse.Action):
    """Takes a number that is not below ``least``.

    Attributes:
        least: the smallest.
        standard: the default in words, for an option whose default is none of argparse's.
    """

    def __init__(self, *given: Any, least: int, standard: str | None = None, **more: Any) -> None:
        super().__init__(*given, **more)
        self.least = least
        self.standard = standard

    def __call__(
        self,
        _: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Store the number.

        Raises:
            UsageError: it is too small, NaN or infinite.
        """
        if not self.least <= values < math.inf:
            raise UsageError(f"{option_string} must be at least {self.least}, got {values}")
        setattr(namespace, self.dest, values)


def split_task(text: str) -> tuple[str, str | None]:
    """``NAME=DATA`` or ``NAME``.

    Raises:
        UsageError: an empty name or data.
    """
    name, separator, data = text.partition("=")
    if not name or (separator and not data):
        raise UsageError(f"'{text}' is no task; write NAME or NAME=FILE")
    return name, data or None
