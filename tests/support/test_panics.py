from __future__ import annotations

import os

import pytest

from harness.errors import IncompleteError
from harness.support.failures import failures_explained
from harness.support.library_errors import described, one_line
from harness.support.panics import panics_unreported


class PanicError(BaseException):
    """As pyo3 raises: no Exception."""


def test_only_the_report_of_a_panic_is_dropped(capfd):
    def say(text, error=None):
        with panics_unreported():
            os.write(2, text)
            if error:
                raise error

    say(b"a warning\n")
    with pytest.raises(PanicError):
        say(b"thread panicked\nstack backtrace\n", PanicError())
    with pytest.raises(ValueError, match="plain"):
        say(b"another\n", ValueError("plain"))
    assert capfd.readouterr().err == "a warning\nanother\n"


@pytest.mark.parametrize("error", [PanicError("boom"), SystemExit(1), KeyError("boom")])
def test_whatever_a_plugin_raises_is_a_failure(error):
    said = f"the cell failed: {type(error).__name__}"
    with pytest.raises(IncompleteError, match=said), failures_explained("the cell"):
        raise error


def test_an_interrupt_is_none():
    with pytest.raises(KeyboardInterrupt), failures_explained("the cell"):
        raise KeyboardInterrupt


@pytest.mark.parametrize("advice", ["pass trust_remote_code=True", "set weights_only=False"])
def test_no_advice_to_run_foreign_code(advice):
    assert "=" not in described(ValueError(f"It failed.\nPlease {advice} if you trust it."))


def test_one_short_line():
    assert one_line(ValueError("a\n  b")) == "a b"
    assert one_line(ValueError()) == "ValueError"
    assert len(one_line(ValueError("x" * 10**6))) < 1000
