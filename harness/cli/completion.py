"""``harness completion``: the script is static, so that completing costs no start of Python."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

SHELLS = ("bash", "zsh", "fish")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which shell, and what to do with the script."""
    parser.add_argument("shell", choices=SHELLS, help="whose script to print")
    parser.epilog = (
        "Save it, for bash as ~/.local/share/bash-completion/completions/harness, for zsh as "
        "_harness in a folder of $fpath, for fish as ~/.config/fish/completions/harness.fish. "
        "It knows the plugins installed now; print it again after installing others."
    )


def execute(arguments: argparse.Namespace) -> int:
    """Print the script."""
    import shtab  # noqa: PLC0415

    from harness.cli.main import whole_parser  # noqa: PLC0415

    parser = whole_parser()
    _add_choices(parser, _names(), shtab.FILE)
    sys.stdout.write(shtab.complete(parser, arguments.shell) + "\n")
    return 0


def _names() -> Mapping[str, Iterable[str]]:
    """What may be written for an option that takes names, by its destination."""
    from harness.assets.aliases import MODELS, TEXTS  # noqa: PLC0415
    from harness.assets.builtin import builtin_models  # noqa: PLC0415
    from harness.compression.compressor import compressors  # noqa: PLC0415
    from harness.evaluation.task import FALLBACK, PREFIXED, tasks  # noqa: PLC0415
    from harness.sweep.engines.engine import engines  # noqa: PLC0415

    measured = [name for name in tasks.names() if name not in (FALLBACK, PREFIXED)]
    return {
        "method": compressors.names(),
        "tasks": measured,
        "engine": engines.names(),
        "model": [*MODELS, *builtin_models()],
        "calibration": dict.fromkeys([*TEXTS, *measured]),
    }


def _add_choices(
    parser: argparse.ArgumentParser, names: Mapping[str, Iterable[str]], file: object
) -> None:
    """Add to the options what the script shall offer; ``parser`` is no good for parsing after."""
    for action in parser._actions:  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for subparser in action.choices.values():
                _add_choices(subparser, names, file)
        elif action.dest in names:
            action.choices = list(names[action.dest])
        elif action.type is Path or action.dest in ("a", "b", "record"):
            action.complete = file  # type: ignore[attr-defined]
        elif action.choices is None and action.metavar:
            # Options of plugins say what may be written: words are small, types capital letters.
            action.choices = [word for word in str(action.metavar).split("|") if word.islower()]
