"""``harness``: picks the command, prints errors as one line, sets the exit code."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib import import_module
from importlib.metadata import version
from types import ModuleType
from typing import NoReturn

from harness.cli.errors import ending
from harness.cli.options import Help
from harness.cli.streams import SafeStream, safe_streams
from harness.errors import InfrastructureError, UsageError, unknown
from harness.plugins.command import Command, commands
from harness.support.offline import offline

COMMANDS = {
    "run": "compress a model, measure it, record the result",
    "compress": "compress a model and save it",
    "export": "write a saved model as an ordinary dense checkpoint",
    "push": "send a saved model to a model hub",
    "verify": "measure again what a saved model claims",
    "chat": "talk to a model",
    "plan": "show the cells of a recipe and which of them are done",
    "profile": "what a model costs, dense and compressed, from its shapes alone",
    "diff": "what differs between two records or folders, and why",
    "merge": "bring the records of several folders together",
    "fetch": "download all that a recipe or run needs",
    "sweep": "run the cells of a recipe, each in its own process",
    "gate": "block what lost quality against a stored baseline",
    "list": "list methods, tasks, families, engines, models or texts",
    "show": "show one record",
    "cache": "list, remove or verify what was fetched and converted",
    "completion": "print a script that completes commands, options and names in a shell",
}
BROKEN_PIPE = 141


class Parser(argparse.ArgumentParser):
    """Raises its errors, so that they end like all others: one line and exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Point to the help instead of printing the usage."""
        raise UsageError(f"{message}; see '{self.prog} --help'")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (see ``harness.errors``)."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    # Read when torch is loaded: threads that spin while they wait slow down all else that runs.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    debug = "--debug" in argv
    if debug:
        logging.basicConfig()
        logging.getLogger("harness").setLevel(logging.DEBUG)
    # Of the report of a native library nothing is left but the error itself.
    os.environ["RUST_BACKTRACE"] = "1" if debug else "0"
    with safe_streams() as output:
        code = _guarded(argv, debug, output)
        if output.failure and code == 0:
            reason = output.failure.strerror or output.failure
            message = f"cannot write to standard output ({reason}); files are written as asked"
            return _fail([message], InfrastructureError.exit_code, debug)
        return code


def _guarded(argv: Sequence[str], debug: bool, output: SafeStream) -> int:
    """Run one command; whatever ends it is one line and never the exit code of a verdict."""
    try:
        with offline() if "--offline" in argv else nullcontext(), _notices(debug):
            return _execute(argv)
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        output.drop()
        return BROKEN_PIPE
    except BaseException as error:
        if isinstance(error, SystemExit) and not error.code:  # of --help and --version
            raise
        return _fail(*ending(error), debug)


def _execute(argv: Sequence[str]) -> int:
    if not argv or argv[0].startswith("-"):
        parser = _parser()
        parser.parse_args(argv)
        parser.print_help()
        return 0
    name = argv[0]
    if name not in COMMANDS and name not in commands.names():
        raise unknown("command", name, command_names())
    command_parser = Parser(
        prog=f"harness {name}",
        description=_summary(name).capitalize() + ".",
        formatter_class=Help,
        allow_abbrev=False,  # what is unambiguous today may not be with the next plugin
    )
    command = _add_command(command_parser, name, argv[1:])
    parsed, rest = command_parser.parse_known_args(argv[1:])
    for extra in rest:
        if not extra.startswith("-"):
            command_parser.error(f"unexpected '{extra}'")
        raise unknown(
            "option", extra.partition("=")[0], re.findall("--[a-z-]+", command_parser.format_help())
        )
    code = int(command.execute(parsed))
    sys.stdout.flush()
    return code


@contextmanager
def _notices(debug: bool) -> Iterator[None]:
    """Show what the harness warns of as one line each, unless all is shown anyway."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("harness: %(message)s"))
    logger = logging.getLogger("harness")
    if not debug:
        logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def command_names() -> list[str]:
    """Of all commands: our own, then those of plugins.

    Raises:
        UsageError: a plugin has the name of one of ours, or two have the same.
    """
    plugins = commands.names()
    for name in COMMANDS.keys() & plugins:
        raise UsageError(
            f"{commands.origin(name)} provides the command '{name}', which is harness's own; "
            "uninstall that package"
        )
    return [*COMMANDS, *plugins]


def _summary(name: str) -> str:
    return COMMANDS.get(name) or commands.get(name).summary


def _add_command(
    parser: argparse.ArgumentParser, name: str, argv: Sequence[str]
) -> ModuleType | Command:
    """The command called ``name``, once it has added its options to ``parser``."""
    command: ModuleType | Command
    if name in COMMANDS:
        command = import_module(f"harness.cli.{name.replace('list', 'listing')}")
    else:
        command = commands.get(name)
    parser.add_argument("--debug", action="store_true", help="show the traceback of errors")
    command.add_arguments(parser)
    if hasattr(command, "add_plugin_arguments"):
        command.add_plugin_arguments(parser, argv)
    return command


def whole_parser() -> argparse.ArgumentParser:
    """Every command with every option, those of plugins included; takes seconds."""
    return _parser(whole=True)


def _parser(*, whole: bool = False) -> argparse.ArgumentParser:
    parser = Parser(
        prog="harness",
        description="Compress language models by training-free low-rank methods and measure "
        "honestly what that costs.",
        epilog="'harness COMMAND --help' shows the options of a command.",
    )
    parser.add_argument("--version", action="version", version=f"harness {version('harness')}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name in command_names():
        try:
            summary, broken = _summary(name), False
        except UsageError as error:  # said in its place, so that it hides no other command
            summary, broken = str(error).replace("%", "%%"), True
        command_parser = subparsers.add_parser(name, help=summary, add_help=whole)
        if whole and not broken:
            _add_command(command_parser, name, ())
    return parser


def _fail(lines: Sequence[str], code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    for line in lines:
        sys.stderr.write(f"harness: error: {' '.join(line.split())}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
