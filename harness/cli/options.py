"""Options of the command line: what several commands share, and how their help reads."""

from __future__ import annotations

import argparse
import textwrap
from typing import Any, get_args

from harness.errors import UsageError
from harness.plugins.ranges import Range, declared_range

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
        notes = [str(action.within)] if isinstance(action, InRange) else []
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


class InRange(argparse.Action):
    """Takes a number, or several, within a range.

    Attributes:
        within: the range.
        standard: the default in words, for an option whose default is none of argparse's.
    """

    def __init__(self, *given: Any, hint: Any, standard: str | None = None, **more: Any) -> None:
        """``hint`` is the annotation of such a number, with its range."""
        super().__init__(*given, **more)
        within = declared_range(hint)
        assert within is not None
        self.within: Range = within
        self.standard = standard
        self._whole = int in get_args(hint)

    def __call__(
        self,
        _: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Store it.

        Raises:
            UsageError: it is no number, or out of its range.
        """
        many = isinstance(values, list)
        numbers = [self._number(text, option_string) for text in (values if many else [values])]
        setattr(namespace, self.dest, numbers if many else numbers[0])

    def _number(self, text: str, option: str | None) -> float:
        try:
            number = int(text) if self._whole else float(text)
        except ValueError as error:
            kind = "whole number" if self._whole else "number"
            raise UsageError(
                f"{option}: '{text}' is no {kind}; its range: {self.within}"
            ) from error
        if number not in self.within:
            raise UsageError(f"{option}: {self.within.complaint(number)}")
        return number


def split_task(text: str) -> tuple[str, str | None]:
    """``NAME=DATA`` or ``NAME``.

    Raises:
        UsageError: an empty name or data.
    """
    name, separator, data = text.partition("=")
    if not name or (separator and not data):
        raise UsageError(f"'{text}' is no task; write NAME or NAME=FILE")
    return name, data or None
