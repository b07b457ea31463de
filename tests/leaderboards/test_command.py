"""``harness leaderboard``: which files it writes, and whether they still fit the records."""

from __future__ import annotations

import errno
import json
import os
import sys

import pytest

from harness.cli.main import main
from harness.records import store
from leaderboards.figures import draw
from leaderboards.formats import FORMATS
from tests.helpers.board_records import answers, dense, make_record

TEXTS = {"md": "md", "json": "json", "html": "html", "latex": "tex", "csv": "csv"}


@pytest.fixture
def results(tmp_path):
    """Four records, of which one has been edited by hand and one is from the future."""
    folder = tmp_path / "results"
    slices = {"NAT": 0.6, "IMG": 0.5}
    kept = [dense(), make_record(), make_record(ratio=0.5), answers(slices=slices)]
    odd = [make_record(ratio=0.6), make_record(ratio=0.7)]
    edited, newer = [store.save(record, folder) for record in (*kept, *odd)][-2:]
    edited.write_text(edited.read_text().replace('"value": 20.2', '"value": 2.2'))
    newer.write_text(json.dumps({**json.loads(newer.read_text()), "schema_version": 2}))
    return folder


@pytest.fixture
def leaderboard(results, tmp_path, capsys):
    """``leaderboard("--check")`` gives exit code and output."""

    def call(*arguments):
        capsys.readouterr()
        code = main(["leaderboard", "--results", str(results), "--output", str(tmp_path / "board"),
                     *arguments])  # fmt: skip
        return code, *capsys.readouterr()

    return call


def listed(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_every_format_has_its_file(leaderboard, tmp_path):
    code, out, err = leaderboard("--format", *FORMATS)
    assert (code, err) == (0, "")
    found = listed(tmp_path / "board")
    figures = [
        "ratio-2-llava-hf-llava-v1.6-vicuna-7b-hf-scienceqa",
        "ratio-1-facebook-opt-1.3b-wikitext2",
        "slices-2-llava-hf-llava-v1.6-vicuna-7b-hf-scienceqa",
    ]
    assert found == sorted(
        [f"leaderboard.{suffix}" for suffix in TEXTS.values()]
        + [f"figures/{name}.{suffix}" for name in figures for suffix in ("svg", "png")]
    )
    assert out == (tmp_path / "board" / "leaderboard.md").read_text("utf-8")


def test_without_markdown_it_prints_what_it_wrote(leaderboard, tmp_path):
    assert leaderboard("--format", "csv", "latex")[1].splitlines() == [
        str(tmp_path / "board" / "leaderboard.csv"),
        str(tmp_path / "board" / "leaderboard.tex"),
    ]


@pytest.mark.parametrize("name", TEXTS)
def test_edited_and_newer_records_are_listed_with_the_reason(leaderboard, tmp_path, name):
    assert leaderboard("--format", name)[0] == 0
    text = (tmp_path / "board" / f"leaderboard.{TEXTS[name]}").read_text("utf-8")
    for reason in ("changed after it was written", "schema version 2, this harness reads 1"):
        assert reason in text.replace(r"\_", "_")


def test_a_check_passes_on_what_was_just_written(leaderboard, tmp_path):
    leaderboard("--format", *FORMATS)
    before = {p: (tmp_path / "board" / p).stat().st_mtime_ns for p in listed(tmp_path / "board")}
    assert leaderboard("--format", *FORMATS, "--check") == (0, "", "")
    after = {p: (tmp_path / "board" / p).stat().st_mtime_ns for p in listed(tmp_path / "board")}
    assert after == before


def test_a_check_names_what_is_stale_missing_and_left_over(leaderboard, results, tmp_path):
    board = tmp_path / "board"
    leaderboard("--format", "md", "csv", "svg")
    store.save(make_record(30.0, ratio=0.8), results)
    (board / "leaderboard.csv").unlink()
    (board / "figures" / "old.svg").write_text("<svg/>")
    (board / "figures" / "mine.png").write_text("not of the formats that are checked")
    code, out, _ = leaderboard("--format", "md", "csv", "svg", "--check")
    assert code == 4
    lines = out.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith(f"{board / 'leaderboard.md'}: stale; write it again")
    assert lines[1].startswith(f"{board / 'leaderboard.csv'}: missing; write it")
    assert "ratio-1-facebook-opt-1.3b-wikitext2.svg: stale" in lines[2]
    assert lines[3].startswith(f"{board / 'figures' / 'old.svg'}: no figure of these records")
    assert not (board / "leaderboard.csv").exists()


@pytest.mark.parametrize("name", ["html", "svg", "png"])
def test_without_the_library_nothing_is_written(leaderboard, tmp_path, monkeypatch, name):
    draw.library.cache_clear()
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    code, out, err = leaderboard("--format", "md", name)
    draw.library.cache_clear()
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert 'pip install "harness[page]"' in err
    assert not (tmp_path / "board").exists()


@pytest.mark.parametrize("number", [1, 2, 5])
def test_a_disk_that_fills_up_leaves_the_board_that_was_there(
    leaderboard, results, tmp_path, monkeypatch, number
):
    board = tmp_path / "board"
    formats = ("md", "json", "html", "csv", "svg")
    assert leaderboard("--format", *formats)[0] == 0
    before = {name: (board / name).read_bytes() for name in listed(board)}
    store.save(make_record(30.0, ratio=0.8), results)
    flushed = []

    def full(file):
        flushed.append(file)
        if len(flushed) >= number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        code, out, err = leaderboard("--format", *formats)
    assert (code, out) == (3, "")
    assert err.count("\n") == 1
    assert f"cannot write {board}" in err
    assert "No space left on device; free some space or choose another folder" in err
    assert {name: (board / name).read_bytes() for name in listed(board)} == before
    assert leaderboard("--format", *formats)[0] == 0
    assert leaderboard("--format", *formats, "--check")[0] == 0


def test_an_unknown_format_is_named(leaderboard):
    code, _, err = leaderboard("--format", "pdf")
    assert code == 2
    assert "'pdf'" in err
    assert "latex" in err
