"""Options that plugins declare, on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from typing import Any

from harness.cli.options import Help
from harness.errors import UsageError
from harness.plugins.described import Description, describe
from harness.plugins.options import configure


def add_plugin_options(
    group: argparse._ArgumentGroup, kind: str, configs: Mapping[str, type[Any]]
) -> None:
    """One ``--option`` for each distinct field of ``configs`` (plugin name -> dataclass).

    Where the parser has that option already, it is ``--PLUGIN-option``. Values stay text; they
    are checked when the plugin's dataclass is built.
    """
    described: dict[str, dict[str, Description]] = {}
    for owner, config in configs.items():
        for option in describe(config):
            described.setdefault(option.name, {})[owner] = option
    for name, by_owner in described.items():
        first, *_ = by_owner
        flag = name.replace("_", "-")
        add = partial(
            group.add_argument,
            dest=f"{kind}_option_{name}",
            default=argparse.SUPPRESS,
            nargs="*" if any(option.many for option in by_owner.values()) else None,
            metavar=by_owner[first].values,
            help=_merged(by_owner, len(configs)),
        )
        try:
            add(f"--{flag}")
        except argparse.ArgumentError:
            add(f"--{first}-{flag}")


def option_help(title: str, summary: str, config: type[Any], kind: str) -> str:
    """The options of one plugin under ``title``, as ``--help`` shows them.

    Those of an engine have no flag of their own: they are written NAME=VALUE.
    """
    parser = argparse.ArgumentParser(usage=argparse.SUPPRESS, add_help=False, formatter_class=Help)
    group = parser.add_argument_group(title, summary.replace("%", "%%"))
    if kind == "engine":
        for option in describe(config):
            written = f"{option.name}={option.values}"
            group.add_argument(option.name, metavar=written, help=_explained({title: option}))
    else:
        add_plugin_options(group, kind, {title: config})
    return parser.format_help()


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
        UsageError: an option that belongs to none of them, or has a value it cannot have.
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
        accepting = [plugin for plugin in picked if plugin in owners[name]]
        if not accepting:
            raise UsageError(
                f"--{name.replace('_', '-')} is an option of {', '.join(owners[name])}, "
                f"not of {', '.join(map(_served, plugins.items()))}; remove it, or check the "
                f"{kind}'s name"
            )
        for plugin in accepting:
            picked[plugin][name] = tuple(value) if isinstance(value, list) else value
    for plugin, options in picked.items():  # before anything is fetched or loaded
        if plugin in configs:  # one that is broken says so itself
            configure(configs[plugin], options, plugins[plugin])
    return picked


def _served(plugin: tuple[str, str]) -> str:
    name, written = plugin
    return name if name == written else f"{name} (which serves '{written}')"


def _owners(configs: Mapping[str, type[Any]]) -> dict[str, list[str]]:
    owners: dict[str, list[str]] = {}
    for plugin, config in configs.items():
        for field in fields(config):
            owners.setdefault(field.name, []).append(plugin)
    return owners


def _merged(by_owner: Mapping[str, Description], total: int) -> str:
    """The help of one option, with a sentence for each group of plugins that explain it alike."""
    alike: dict[tuple[str, str], dict[str, Description]] = {}
    for owner, option in by_owner.items():
        alike.setdefault((option.explanation, str(option.range)), {})[owner] = option
    sentences = []
    for group in alike.values():
        whose = "" if len(group) == total else f"of {', '.join(group)}: "
        sentences.append(whose + _explained(group))
    return ". ".join(sentences)


def _explained(alike: Mapping[str, Description]) -> str:
    """Explanation, range and defaults of an option that all its owners explain alike."""
    first, *_ = alike.values()
    owners: dict[str, list[str]] = {}
    for owner, option in alike.items():
        owners.setdefault(option.default, []).append(owner)
    defaults = [
        value if len(owners) == 1 else f"{value} for {' and '.join(names)}"
        for value, names in owners.items()
    ]
    notes = [*([str(first.range)] if first.range else []), f"default {', '.join(defaults)}"]
    return f"{first.explanation} ({'; '.join(notes)})".strip().replace("%", "%%")
