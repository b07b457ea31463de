"""Commands that other packages bring."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from harness.plugins.registry import Registry


@dataclass(frozen=True)
class Command:
    """A plugin of the ``harness.commands`` group, whose name in there is that of the command.

    ``harness --help`` imports it: what is heavy belongs into its functions.

    Attributes:
        summary: what it does, in a few words that begin with a verb.
        add_arguments: adds its options to a parser.
        execute: runs it with what was parsed and returns the exit code.
    """

    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    execute: Callable[[argparse.Namespace], int]


commands = Registry("harness.commands", "command", Command)
