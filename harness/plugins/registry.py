"""Plugins are Python entry points; ours are declared exactly as a third party's would be.

``names`` reads package metadata and imports nothing; ``get`` imports one plugin.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, EntryPoint, entry_points
from pathlib import Path
from typing import Generic, TypeVar, cast

from harness.errors import HarnessError, UsageError, unknown
from harness.plugins.code import plugin_code
from harness.plugins.purpose import purpose
from harness.plugins.shadowing import hidden, hiding_file
from harness.support.library_errors import described
from harness.support.panics import INTERRUPTS

T = TypeVar("T")

_CHECKED: dict[tuple[str, str], object] = {}
"""Plugins that are what their registry says, which is slow to see."""


@dataclass(frozen=True)
class Registry(Generic[T]):
    """All plugins of one entry-point group, each an instance of ``protocol``."""

    group: str
    kind: str
    protocol: type[T]

    def names(self) -> list[str]:
        """Names of all plugins, sorted, without importing any.

        Raises:
            UsageError: two distributions claim the same name.
        """
        return sorted(_entry_points(self.group))

    def origin(self, name: str) -> str:
        """Distribution that declares ``name``, e.g. ``harness 0.1.0``."""
        return _distribution(self._entry(name))

    def purpose(self, name: str) -> str:
        """What ``name`` is for, in a line; its module is not imported."""
        return purpose(self._entry(name).module)

    def code(self, name: str) -> str:
        """What decides what ``name`` computes, where it is not ours; see ``plugin_code``.

        Empty where there is no such plugin.
        """
        entries = _entry_points(self.group)
        return plugin_code(entries[name]) if name in entries else ""

    def get(self, name: str) -> T:
        """Import and return the plugin called ``name``.

        Raises:
            UsageError: there is none (near names are suggested), another file hides its package,
                it does not import, or it is not a ``protocol``.
            HarnessError: raised by the plugin itself, such as for a package that it lacks.
        """
        entry = self._entry(name)
        if entry.dist and (file := _hiding_file(entry.module, entry.dist, tuple(sys.path))):
            raise hidden(f"{self.kind} '{name}' of {_distribution(entry)}", file)
        try:
            plugin = entry.load()
        except HarnessError:  # it knows what it lacks
            raise
        except BaseException as error:
            if isinstance(error, INTERRUPTS):
                raise
            raise UsageError(
                f"{self.kind} '{name}' of {_distribution(entry)} does not load: "
                f"{described(error)}; reinstall or remove that package"
            ) from error
        if _CHECKED.get((self.group, name)) is plugin:
            return cast("T", plugin)
        if not isinstance(plugin, self.protocol):
            raise UsageError(
                f"{self.kind} '{name}' of {_distribution(entry)} is a {type(plugin).__name__}, "
                f"not a {self.protocol.__name__}; correct its entry point, or remove that package"
            )
        _CHECKED[self.group, name] = plugin
        return plugin

    def _entry(self, name: str) -> EntryPoint:
        entries = _entry_points(self.group)
        if name not in entries:
            raise unknown(self.kind, name, entries)
        return entries[name]


@cache
def _entry_points(group: str) -> Mapping[str, EntryPoint]:
    by_name: dict[str, EntryPoint] = {}
    for entry in entry_points(group=group):
        other = by_name.setdefault(entry.name, entry)
        if other.value != entry.value or _distribution(other) != _distribution(entry):
            both = sorted([_distribution(other), _distribution(entry)])
            raise UsageError(
                f"two packages provide '{entry.name}' in {group}: {' and '.join(both)}; "
                "uninstall one of them"
            )
    return by_name


@cache
def _hiding_file(module: str, distribution: Distribution, _: tuple[str, ...]) -> Path | None:
    """Asked once for each ``sys.path``: a recipe of many cells names one plugin many times."""
    return hiding_file(module, distribution)


def _distribution(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown package"
