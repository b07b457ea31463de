"""Command-line options derived from the option dataclasses of plugins."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from typing import Any, Literal, get_args, get_origin, get_type_hints

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
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
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


def add_plugin_options(
    parser: argparse.ArgumentParser, kind: str, configs: Mapping[str, type[Any]]
) -> None:
    """One ``--option`` for each distinct field of ``configs`` (plugin name -> dataclass).

    Where the parser has that option already, it is ``--PLUGIN-option``. Values stay text; they
    are checked when the plugin's dataclass is built.
    """
    group = parser.add_argument_group(f"options of {kind}s")
    for name, owners in _owners(configs).items():
        defaults = {owner: _default(configs[owner], name) for owner in owners}
        many = any(isinstance(value, tuple) for value in defaults.values())
        flag = name.replace("_", "-")
        add = partial(
            group.add_argument,
            dest=f"{kind}_option_{name}",
            default=argparse.SUPPRESS,
            nargs="*" if many else None,
            metavar=_metavar(configs[owners[0]], name),
            help=_help(defaults, set(configs)),
        )
        try:
            add(f"--{flag}")
        except argparse.ArgumentError:
            add(f"--{owners[0]}-{flag}")


def chosen(
    arguments: argparse.Namespace,
    kind: str,
    configs: Mapping[str, type[Any]],
    plugins: Mapping[str, str],
) -> dict[str, dict[str, Any]]:
    """Options of ``kind`` the user gave for each of ``plugins``.

    Args:
        arguments: the parsed command line.
        kind: ``method`` or ``task``.
        configs: options of every plugin that loads.
        plugins: what the user wrote for each plugin that was chosen.

    Raises:
        UsageError: an option that belongs to none of them.
    """
    prefix = f"{kind}_option_"
    given = {
        name.removeprefix(prefix): value
        for name, value in vars(arguments).items()
        if name.startswith(prefix)
    }
    picked: dict[str, dict[str, Any]] = {plugin: {} for plugin in plugins}
    owners = _owners(configs)
    for name, value in given.items():
        takers = [plugin for plugin in picked if plugin in owners[name]]
        if not takers:
            raise UsageError(
                f"--{name.replace('_', '-')} is an option of {', '.join(owners[name])}, "
                f"not of {', '.join(map(_served, plugins.items()))}; remove it, or check the "
                f"{kind}'s name"
            )
        for plugin in takers:
            picked[plugin][name] = tuple(value) if isinstance(value, list) else value
    return picked


def _served(plugin: tuple[str, str]) -> str:
    name, written = plugin
    return name if name == written else f"{name} (which serves '{written}')"


def _owners(configs: Mapping[str, type[Any]]) -> dict[str, list[str]]:
    owners: dict[str, list[str]] = {}
    for plugin, config in configs.items():
        for one in fields(config):
            owners.setdefault(one.name, []).append(plugin)
    return owners


def _metavar(config: type[Any], name: str) -> str:
    try:
        return _values(get_type_hints(config)[name])
    except NameError:  # a hint that does not resolve is that plugin's trouble, when it is used
        return name.upper()


def _values(hint: Any) -> str:
    """What may be written for a field of type ``hint``, e.g. ``INT|all``."""
    if get_origin(hint) is Literal:
        return "|".join(map(str, get_args(hint)))
    inner = [one for one in get_args(hint) if one not in (type(None), Ellipsis)]
    if inner:
        return "|".join(map(_values, inner))
    return "true|false" if hint is bool else str(hint.__name__).upper()


def _default(config: type[Any], name: str) -> Any:
    return getattr(config(), name)


def _help(defaults: Mapping[str, Any], everyone: set[str]) -> str:
    by_value: dict[str, list[str]] = {}
    for owner, value in defaults.items():
        text = " ".join(value) if isinstance(value, tuple) else str(value)
        by_value.setdefault(text, []).append(owner)
    if len(by_value) == 1:
        whose = "" if set(defaults) == everyone else f" ({', '.join(defaults)})"
        return f"default {next(iter(by_value))}{whose}"
    return "default " + "; ".join(f"{v} ({', '.join(who)})" for v, who in by_value.items())


def split_task(text: str) -> tuple[str, str | None]:
    """``NAME=DATA`` or ``NAME``.

    Raises:
        UsageError: an empty name or data.
    """
    name, separator, data = text.partition("=")
    if not name or (separator and not data):
        raise UsageError(f"'{text}' is no task; write NAME or NAME=FILE")
    return name, data or None
