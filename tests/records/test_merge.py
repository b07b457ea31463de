"""Records of several machines come together, or it is said why they cannot."""

from __future__ import annotations

import pytest

from harness.cli.main import main
from harness.records import store
from tests.helpers.board_records import make_record


@pytest.fixture
def folder(tmp_path):
    def write(name, *records):
        for record in records:
            store.save(record, tmp_path / name)
        return tmp_path / name

    return write


def merge(output, *folders):
    return main(["merge", *map(str, folders), "--output", str(output)])


def state(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.json")}


def test_records_come_together_and_the_same_cell_counts_once(folder, tmp_path, capsys):
    first, second = make_record(run_id="a" * 16), make_record(run_id="b" * 16, ratio=0.1)
    later = first.model_copy(update={"created": "2026-02-02T00:00:00Z"})
    one, two = folder("one", first, second), folder("two", later)
    assert merge(tmp_path / "all", one, two) == 0
    assert state(tmp_path / "all") == state(one)
    assert "2 records in" in capsys.readouterr().out
    assert merge(tmp_path / "all", two, one) == 0
    assert state(tmp_path / "all") == state(one)
    assert "0 added, 0 replaced a less complete one, 2 were there" in capsys.readouterr().out


@pytest.mark.parametrize("reverse", [False, True])
def test_one_cell_with_different_numbers_is_an_error_and_nothing_is_written(
    folder, tmp_path, capsys, reverse
):
    one = folder("one", make_record(20.25, run_id="a" * 16), make_record(run_id="b" * 16))
    two = folder("two", make_record(20.250000000000004, run_id="a" * 16))
    assert merge(tmp_path / "all", *([two, one] if reverse else [one, two])) == 2
    error = capsys.readouterr().err
    for part in ("20.25 ", "20.250000000000004", f"{one}/aaaa", f"{two}/aaaa", "harness diff"):
        assert part in error
    assert not (tmp_path / "all").exists()


def test_what_the_output_holds_takes_part(folder, tmp_path, capsys):
    output = folder("all", make_record(1.5, run_id="a" * 16))
    before = state(output)
    other = folder("other", make_record(2.5, run_id="a" * 16), make_record(run_id="b" * 16))
    assert merge(output, other) == 2
    assert "1.5" in capsys.readouterr().err
    assert state(output) == before


def test_a_complete_record_beats_an_incomplete_and_that_a_failed_one(folder, tmp_path, capsys):
    failed = make_record(run_id="a" * 16, status="failed", error="no memory")
    failed = failed.model_copy(update={"result": None})
    partial = make_record(20.5, run_id="a" * 16, status="incomplete", skipped=1)
    complete = make_record(20.25, run_id="a" * 16)
    output = folder("all", failed)
    assert merge(output, folder("partial", partial)) == 0
    assert "1 replaced" in capsys.readouterr().out
    assert merge(output, folder("complete", complete), folder("failed", failed)) == 0
    (record,) = store.scan(output)
    assert record == complete.sealed()
    assert merge(output, folder("partial", partial)) == 0
    assert next(iter(store.scan(output))).status == "complete"


def test_two_failures_are_no_disagreement(folder, tmp_path):
    failures = [
        make_record(run_id="a" * 16, status="failed", error=error).model_copy(
            update={"result": None}
        )
        for error in ("no memory", "no network")
    ]
    folders = [folder(name, one) for name, one in zip("ab", failures, strict=True)]
    assert merge(tmp_path / "all", *folders) == 0
    assert [one.error for one in store.scan(tmp_path / "all")] == ["no memory"]


def test_damaged_files_are_listed_and_the_others_merged(folder, tmp_path, capsys):
    one = folder("one", make_record(run_id="a" * 16), make_record(run_id="b" * 16, ratio=0.1))
    path = one / f"{'a' * 16}.json"
    path.write_text(path.read_text().replace('"n": 141', '"n": 142'))
    assert merge(tmp_path / "all", one) == 4
    error = capsys.readouterr().err
    assert f"{path}: changed after it was written" in error
    assert "1 files are no sound records" in error
    assert list(state(tmp_path / "all")) == [f"{'b' * 16}.json"]


def test_a_damaged_file_of_the_output_is_not_replaced(folder, tmp_path, capsys):
    output = folder("all", make_record(run_id="a" * 16))
    path = output / f"{'a' * 16}.json"
    path.write_text("{")
    assert merge(output, folder("one", make_record(run_id="a" * 16))) == 2
    assert "delete it first" in capsys.readouterr().err
    assert path.read_text() == "{"


def test_a_folder_that_is_not_there_is_said(tmp_path, capsys):
    assert merge(tmp_path / "all", tmp_path / "none") == 2
    assert "there is no folder" in capsys.readouterr().err
