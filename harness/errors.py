"""Errors a person can act on.

Every error the harness raises on purpose is one line that names the cause and the
fix, and carries the exit code the command line ends with.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HarnessError(Exception):
    """Base of all deliberate errors; ``exit_code`` is the process exit status."""

    exit_code = 2


class UsageError(HarnessError):
    """The command, an option, or an input is wrong (exit 2)."""


class InputError(UsageError):
    """Mistakes in what a person has written, each one a line."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = tuple(dict.fromkeys(lines))
        super().__init__("\n".join(self.lines))


class InfrastructureError(HarnessError):
    """Something outside the program failed: network, disk, memory (exit 3)."""

    exit_code = 3


class AssetError(InfrastructureError):
    """A model or a text could not be had or is damaged (exit 3)."""


class IncompleteError(HarnessError):
    """Some cells of a run failed; the others are intact (exit 4)."""

    exit_code = 4


class NonFiniteError(HarnessError):
    """NaN or infinity where a finite number is required; names the place (exit 4)."""

    exit_code = 4


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Error for a name that does not exist, with the nearest names that do."""
    names = sorted(set(known))
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names) or 'none'}"
    return UsageError(f"unknown {kind} '{name}'; {hint}")
