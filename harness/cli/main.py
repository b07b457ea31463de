"""``harness``: picks the command, prints errors as one line, sets the exit code."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version

from harness.errors import HarnessError, InfrastructureError

COMMANDS = {
    "run": "compress a model, measure it, record the result",
    "leaderboard": "rank the recorded results as markdown and JSON",
    "list": "list methods, models, tasks or families",
    "show": "show one record",
}
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (see ``harness.errors``)."""
    parser, argv = _parser(), list(sys.argv[1:] if arguments is None else arguments)
    if not argv or argv[0] not in COMMANDS:
        parser.parse_args(argv)
        parser.print_help()
        return 0
    command = import_module(f"harness.cli.{argv[0].replace('list', 'listing')}")
    own = argparse.ArgumentParser(
        prog=f"harness {argv[0]}",
        description=COMMANDS[argv[0]].capitalize() + ".",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    own.add_argument("--debug", action="store_true", help="show the traceback of errors")
    debug = "--debug" in argv
    try:
        command.add_arguments(own)
        return int(command.execute(own.parse_args(argv[1:])))
    except HarnessError as error:
        return _fail(str(error), error.exit_code, debug)
    except (MemoryError, OSError) as error:
        return _fail(f"{type(error).__name__}: {error}", InfrastructureError.exit_code, debug)
    except KeyboardInterrupt:
        return _fail("interrupted; finished cells are kept, run again to go on", INTERRUPTED, debug)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
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
