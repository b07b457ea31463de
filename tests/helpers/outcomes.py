"""What a command said."""

from __future__ import annotations


def one_line(outcome, *parts):
    """The exit code of a command whose whole error output is one line that holds ``parts``."""
    code, _, errors = outcome
    assert errors.count("\n") == 1, errors
    for part in parts:
        assert part in errors
    return code
