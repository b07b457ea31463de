"""Closed, full and narrow standard streams, and errors that are no ``Exception``."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from harness.cli.main import main
from harness.cli.streams import SafeStream, safe_streams

HARNESS = [sys.executable, "-m", "harness.cli.main"]


class Full(io.StringIO):
    def flush(self):
        raise OSError(28, "No space left on device")

    def write(self, _):
        self.flush()


def test_a_full_stream_stops_nobody():
    stream = SafeStream(Full())
    assert stream.write("four") == 4
    stream.flush()
    assert stream.failure.errno == 28


def test_a_character_that_an_encoding_lacks_is_escaped(monkeypatch):
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", narrow)
    with safe_streams():
        sys.stdout.write("\N{PLUS-MINUS SIGN}\udc80")
    assert sys.stdout is narrow
    assert narrow.buffer.getvalue() == rb"\xb1\udc80"


def test_output_that_cannot_be_written_is_said_after_the_work(monkeypatch):
    done = []

    def work(_):
        sys.stdout.write("4\n")
        done.append("after that")
        return 0

    monkeypatch.setattr("harness.cli.show.execute", work)
    monkeypatch.setattr(sys, "stdout", Full())
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert main(["show", "x"]) == 3
    assert done
    assert "cannot write to standard output (No space left" in sys.stderr.getvalue()


@pytest.mark.parametrize(
    ("redirected", "code"), [(">&-", 0), ("<&- >&- 2>&-", 0), (">/dev/full", 3), ("2>/dev/full", 0)]
)
def test_closed_and_full_streams_of_a_process(redirected, code, tmp_path):
    script = f'"$@" {redirected}'
    arguments = ["sh", "-c", script, "sh", *HARNESS, "cache", "ls"]
    environment = {**os.environ, "HARNESS_CACHE": str(tmp_path)}
    assert subprocess.run(arguments, env=environment, check=False).returncode == code


class PanicError(BaseException):
    """As native libraries raise."""


@pytest.mark.parametrize(
    ("error", "code"),
    [(PanicError("boom"), 3), (SystemExit(1), 3), (KeyboardInterrupt(), 130)],
)
def test_nothing_but_a_verdict_ends_with_one(cli, monkeypatch, error, code):
    def explode(_):
        raise error

    monkeypatch.setattr("harness.cli.show.execute", explode)
    outcome = cli("show", "x")
    assert outcome.code == code
    assert outcome.err.count("\n") == (code != 0)
