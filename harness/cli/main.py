"""``harness``: picks the command, prints errors as one line, sets the exit code."""

from __future__ import annotations

import argparse
import logging
import re
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import NoReturn

from harness.errors import HarnessError, InfrastructureError, UsageError, unknown

COMMANDS = {
    "run": "compress a model, measure it, record the result",
    "plan": "show the cells of a recipe and which of them are done",
    "profile": "what a model costs, dense and compressed, from its shapes alone",
    "diff": "what differs between two records or folders, and why",
    "merge": "bring the records of several folders together",
    "sweep": "run the cells of a recipe, each in its own process",
    "gate": "block what lost quality against a stored baseline",
    "leaderboard": "rank the recorded results",
    "list": "list methods, models, tasks or families",
    "show": "show one record",
}
INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """Raises its errors, so that they end like all others: one line and exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Point to the help instead of printing the usage."""
        raise UsageError(f"{message}; see '{self.prog} --help'")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (see ``harness.errors``)."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in argv
    if debug:
        logging.basicConfig()
        logging.getLogger("harness").setLevel(logging.DEBUG)
    try:
        return _execute(argv)
    except HarnessError as error:
        return _fail(str(error), error.exit_code, debug)
    except (MemoryError, OSError) as error:
        return _fail(f"{type(error).__name__}: {error}", InfrastructureError.exit_code, debug)
    except KeyboardInterrupt:
        return _fail("interrupted; finished cells are kept, run again to go on", INTERRUPTED, debug)


def _execute(argv: Sequence[str]) -> int:
    parser = _parser()
    if not argv or argv[0].startswith("-"):
        parser.parse_args(argv)
        parser.print_help()
        return 0
    name = argv[0]
    if name not in COMMANDS:
        raise unknown("command", name, COMMANDS)
    command = import_module(f"harness.cli.{name.replace('list', 'listing')}")
    own = Parser(
        prog=f"harness {name}",
        description=COMMANDS[name].capitalize() + ".",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,  # what is unambiguous today may not be with the next plugin
    )
    own.add_argument("--debug", action="store_true", help="show the traceback of errors")
    command.add_arguments(own)
    parsed, rest = own.parse_known_args(argv[1:])
    for extra in rest:
        if not extra.startswith("-"):
            own.error(f"unexpected '{extra}'")
        raise unknown("option", extra.partition("=")[0], re.findall("--[a-z-]+", own.format_help()))
    return int(command.execute(parsed))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="harness",
        description="Compress language models by training-free low-rank methods and measure "
        "honestly what that costs.",
        epilog="'harness COMMAND --help' shows the options of a command.",
    )
    parser.add_argument("--version", action="version", version=f"harness {version('harness')}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, summary in COMMANDS.items():
        commands.add_parser(name, help=summary, add_help=False)
    return parser


def _fail(message: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    sys.stderr.write(f"harness: error: {' '.join(message.split())}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
