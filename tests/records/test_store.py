from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InfrastructureError, UsageError
from harness.records.document import digest
from harness.records.record import (
    CompressionFacts,
    DataFacts,
    Environment,
    LayerFacts,
    ModelFacts,
    RunRecord,
)
from harness.records.results import Metric, Sample, TaskResult
from harness.records.spec import CalibrationSpec, MethodSpec, RunSpec, TaskSpec
from harness.records.store import Problem, find, load, load_all, save, scan, schema

SCHEMA = Path(__file__).parents[2] / "harness" / "records" / "record.schema.json"


def a_record(run_id: str = "0123456789abcdef", **changes: object) -> RunRecord:
    record = RunRecord(
        run_id=run_id,
        status="complete",
        error=None,
        spec=RunSpec(
            model="builtin:tiny",
            method=MethodSpec(name="dense", options={"a": 1.0, "b": True, "c": ("x", "y"), "d": 2}),
            ratio=0.0,
            calibration=CalibrationSpec(text="c4", samples=1, length=2),
            task=TaskSpec(name="wikitext2"),
        ),
        model=ModelFacts(
            reference="模型 <b>", fingerprint="f", family="opt", parameters=1, bytes=4
        ),
        calibration=None,
        compression=None,
        data=DataFacts(reference="d", fingerprint="e"),
        result=TaskResult(
            metrics=(
                Metric(
                    name="m",
                    value=0.1 + 0.2,
                    stderr=None,
                    n=3,
                    unit="windows",
                    higher_is_better=False,
                ),
            ),
            samples=(),
            batch_size=1,
        ),
        reference=None,
        environment=Environment(
            harness="0.1.0",
            commit=None,
            dirty=None,
            python="3.12",
            platform="Linux",
            packages={},
            device="cpu",
            device_name="cpu",
            threads=1,
        ),
        timings={"all": 1e-300},
        peak_memory={},
        created="2026-01-01T00:00:00Z",
    )
    return record.model_copy(update=changes)


def edited(path: Path, change) -> Path:
    document = json.loads(path.read_text("utf-8"))
    change(document)
    path.write_text(json.dumps(document), "utf-8")
    return path


def files_of(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_record_survives_the_disk(tmp_path):
    record = a_record()
    path = save(record, tmp_path / "new" / "folder")
    assert path.name == "0123456789abcdef.json"
    assert load(path) == record.sealed()
    assert find(path.parent, record.run_id) == record.sealed()


def test_the_file_is_readable_text_with_sorted_keys(tmp_path):
    text = save(a_record(), tmp_path).read_text("utf-8")
    document = json.loads(text)
    assert text == json.dumps(document, sort_keys=True, indent=1, ensure_ascii=False) + "\n"
    assert "模型" in text
    assert document["digest"] == a_record().content_digest()


def test_saving_again_replaces_the_file_and_leaves_nothing_else(tmp_path):
    save(a_record(), tmp_path)
    save(a_record(status="failed", error="no memory"), tmp_path)
    assert files_of(tmp_path) == ["0123456789abcdef.json"]
    found = find(tmp_path, "0123456789abcdef")
    assert found is not None
    assert found.status == "failed"


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), RuntimeError("boom")])
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_interrupted_write_leaves_the_old_file_alone(tmp_path, monkeypatch, failure, step):
    save(a_record(), tmp_path)

    def interrupt(*_: object) -> None:
        raise failure

    monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (Path, "replace")), interrupt)
    with pytest.raises(type(failure)):
        save(a_record(status="failed", error="later"), tmp_path)
    assert files_of(tmp_path) == ["0123456789abcdef.json"]
    found = find(tmp_path, "0123456789abcdef")
    assert found is not None
    assert found.status == "complete"


def test_a_killed_write_leaves_no_record(tmp_path):
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from pathlib import Path
from tests.records.test_store import a_record
from harness.records.store import save
Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
save(a_record(), Path({str(tmp_path)!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -9
    assert load_all(tmp_path) == ([], [])
    assert find(tmp_path, "0123456789abcdef") is None


@pytest.mark.parametrize(
    ("code", "fix"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "free some space"),
        (errno.EACCES, "make it writable"),
        (errno.EROFS, "make it writable"),
    ],
)
def test_a_folder_that_cannot_be_written_says_what_to_do(tmp_path, monkeypatch, code, fix):
    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(InfrastructureError, match=fix) as caught:
        save(a_record(), tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert files_of(tmp_path) == []


def test_a_folder_that_is_a_file_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InfrastructureError, match="file"):
        save(a_record(), tmp_path / "file")


@pytest.mark.parametrize("run_id", ["", ".", "..", "../x", "a/b", ".hidden"])
def test_a_run_id_cannot_leave_the_folder(tmp_path, run_id):
    with pytest.raises(UsageError, match="run id"):
        save(a_record(run_id), tmp_path)
    with pytest.raises(UsageError, match="run id"):
        find(tmp_path, run_id)


def drop_spec(document):
    del document["spec"]


def drop_version(document):
    del document["schema_version"]


def change_value(document):
    document["result"]["metrics"][0]["value"] = 1.0


def unseal(document):
    document["digest"] = ""


def newer(document):
    document.update(schema_version=2, novelty=1)


def unknown_field(document):
    document["surprise"] = 1


def not_finite(document):
    document["timings"]["all"] = float("nan")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop_spec, "spec: Field required.*run the cell again"),
        (change_value, "changed after it was written.*run the cell again"),
        (unseal, "changed after it was written"),
        (newer, "schema version 2.*upgrade"),
        (unknown_field, "surprise: .*run the cell again"),
        (not_finite, "finite"),
    ],
)
def test_a_file_that_is_not_sound_says_why(tmp_path, change, message):
    path = edited(save(a_record(), tmp_path), change)
    with pytest.raises(UsageError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]", b"[" * 200_000, b"null"])
def test_a_file_that_is_no_record_says_so(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"x\.json"):
        load(path)


def test_a_truncated_file_is_found_at_every_length(tmp_path):
    path = save(a_record(), tmp_path)
    content = path.read_bytes()
    for length in range(0, len(content) - 2, 37):
        path.write_bytes(content[:length])
        with pytest.raises(UsageError, match="cut short"):
            load(path)


def test_a_missing_file_and_a_missing_folder_are_usage_errors(tmp_path):
    with pytest.raises(UsageError, match="no record"):
        load(tmp_path / "x.json")
    with pytest.raises(UsageError, match="no folder"):
        load_all(tmp_path / "x")
    with pytest.raises(UsageError, match="no folder"):
        scan(tmp_path / "x")
    assert find(tmp_path / "x", "abc") is None


def test_an_unreadable_file_is_infrastructure(tmp_path, monkeypatch):
    path = save(a_record(), tmp_path)

    def fail(_: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(InfrastructureError, match="permissions"):
        load(path)
    assert load_all(tmp_path) == ([], [(path, "cannot be read (Permission denied)")])


def test_damaged_files_do_not_stop_the_others(tmp_path):
    save(a_record("b"), tmp_path)
    save(a_record("a"), tmp_path)
    (tmp_path / "aa.json").write_text("{")
    edited(save(a_record("c"), tmp_path), change_value)
    (tmp_path / "notes.txt").write_text("not a record")
    records, problems = load_all(tmp_path)
    assert [record.run_id for record in records] == ["a", "b"]
    assert [problem.path.name for problem in problems] == ["aa.json", "c.json"]
    assert all(str(tmp_path) not in problem.message for problem in problems)


def test_a_renamed_record_is_not_taken_for_another(tmp_path):
    save(a_record("a"), tmp_path).rename(tmp_path / "b.json")
    with pytest.raises(UsageError, match=r"rename it to a\.json"):
        find(tmp_path, "b")


def test_the_digest_is_of_the_file_not_of_the_model(tmp_path):
    path = save(a_record(), tmp_path)

    def as_an_older_version_would_write_it(document):
        del document["model"]["notes"], document["digest"]
        document["digest"] = digest(document)

    assert load(edited(path, as_an_older_version_would_write_it)).model.notes == ()


def test_the_published_schema_is_the_generated_one():
    assert SCHEMA.read_text("utf-8") == schema(), (
        "run: python -m harness.records.store > harness/records/record.schema.json"
    )


def test_real_records_follow_the_published_schema(tmp_path):
    published = json.loads(SCHEMA.read_text("utf-8"))
    validator = jsonschema.Draft202012Validator(published)
    validator.check_schema(published)
    for record in (a_record("a"), a_record("b", status="failed", error="x", result=None)):
        validator.validate(json.loads(save(record, tmp_path).read_text("utf-8")))
    for change in (drop_spec, unknown_field, newer):
        document = json.loads((tmp_path / "a.json").read_text("utf-8"))
        change(document)
        assert not validator.is_valid(document)


AWKWARD = [
    '": ',
    "\\",
    '\\": ',
    'x": 1,\n "digest": "',
    '"digest":"',
    "模型\u2028",
    "\x00\x1b",
    "a\\",
]


def full_record(text: str, number: float = 0.5) -> RunRecord:
    record = a_record()
    sample = Sample(id=text, values={text: number}, answer=text)
    layer = LayerFacts(
        name=text, form=text, shape=(1, 1), rank=1, parameters=1, relative_loss=number,
        interpolation_bound=None,
    )  # fmt: skip
    done = CompressionFacts(
        label=text, ratio_requested=0.1, ratio_layers=0.1, ratio_model=0.1, parameters=1, bytes=4,
        layers=(layer,),
    )  # fmt: skip
    result = record.result.model_copy(update={"samples": (sample,)})
    method = MethodSpec(name=text, options={text: text, "digest": text})
    return record.model_copy(
        update={
            "result": result,
            "compression": done,
            "spec": record.spec.model_copy(update={"method": method}),
        }
    )


@given(
    st.one_of(st.sampled_from(AWKWARD), st.text(st.characters(codec="utf-8"), max_size=12)),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_a_record_read_without_its_layers_is_otherwise_the_same(tmp_path_factory, text, number):
    folder = tmp_path_factory.mktemp("records", numbered=True)
    record = full_record(text, number).sealed()
    save(record, folder)
    assert list(scan(folder)) == [record]
    (light,) = scan(folder, layers=False)
    assert light.result.metrics == record.result.metrics
    assert light.digest == record.digest
    done = record.compression.model_copy(update={"layers": ()})
    assert light.compression in (done, record.compression)


def test_layers_are_left_out(tmp_path):
    save(full_record("text"), tmp_path)
    (light,) = scan(tmp_path, layers=False)
    assert light.compression.layers == ()
    assert light.result == full_record("text").result


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"answer": "text"', '"answer": "texts"'),
        ('"rank": 1', '"rank": 2'),
        ('"relative_loss": 0.5', '"relative_loss": 0.25'),
        ('"n": 3', '"n": 4'),
        ('"digest": "text"', '"digest": "txet"'),
        (' "error": null', ' "error": null,\n "error": null'),
    ],
)
def test_an_edit_anywhere_is_found_without_reading_layers(tmp_path, old, new):
    path = save(full_record("text"), tmp_path)
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    problems = [one for one in scan(tmp_path, layers=False) if isinstance(one, Problem)]
    if new.count("error") == 2:  # the same content written otherwise
        assert problems == []
    else:
        assert [problem.path for problem in problems] == [path]
        assert "changed after it was written" in problems[0].message


@pytest.mark.parametrize("indent", [None, 4])
def test_the_same_content_in_another_form_is_sound(tmp_path, indent):
    record = full_record("text").sealed()
    path = save(record, tmp_path)
    path.write_text(json.dumps(json.loads(path.read_bytes()), indent=indent), "utf-8")
    assert list(scan(tmp_path, layers=False)) == list(scan(tmp_path)) == [record]
