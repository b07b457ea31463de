"""A record's name changes with all that can change its numbers, and with nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.checkpoints.resolve import resolve_model
from harness.checkpoints.saved_record import read_saved_record
from harness.compression.compressor import compressors
from harness.errors import UsageError
from harness.experiments.plan import make_plan
from harness.experiments.request import Request
from harness.experiments.runner import run
from harness.families.family import families
from harness.plugins.registry import Registry
from harness.records import store
from harness.records.spec import CalibrationSpec, TaskSpec

Make = Callable[..., Request]


@pytest.fixture
def folder(model_folder, tmp_path) -> Path:
    return Path(shutil.copytree(model_folder("llama"), tmp_path / "model"))


@pytest.fixture
def request_of(folder, texts, tmp_path) -> Make:
    for name in ("calibration", "evaluation"):
        shutil.copyfile(texts / f"{name}.txt", tmp_path / f"{name}.txt")
    text = str(tmp_path / "calibration.txt")
    return lambda **changes: replace(
        Request(
            methods={"svd": {}},
            ratios=(0.3,),
            tasks=(task(tmp_path),),
            model=str(folder),
            calibration=CalibrationSpec(text=text, samples=2, length=8),
            output=tmp_path / "results",
        ),
        **changes,
    )


def task(folder: Path, **changes: object) -> TaskSpec:
    data = str(folder / "evaluation.txt")
    given = {"name": "wikitext2", "data": data, "options": {"window": 16}}
    return TaskSpec.model_validate(given | changes)


def run_ids(request: Request) -> tuple[str, str]:
    """Of the dense cell and of the compressed one."""
    dense, compressed = make_plan(request).variants
    return dense.cells[0].run_id, compressed.cells[0].run_id


def flip(file: Path) -> None:
    """One bit of the last tensor's last number."""
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def edit(file: Path) -> None:
    document = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(document | {"edited": True}))


PARTS: dict[str, Callable[[Path], None]] = {
    "model.safetensors": flip,
    "config.json": edit,
    "generation_config.json": edit,
    "tokenizer.json": edit,
    "tokenizer_config.json": edit,
    "special_tokens_map.json": edit,
    "added_tokens.json": edit,
    "chat_template.jinja": edit,
    "preprocessor_config.json": edit,
    "video_preprocessor_config.json": edit,
}


@pytest.mark.parametrize("part", PARTS)
def test_every_file_of_the_model_counts(request_of, folder, part):
    before = run_ids(request_of())
    PARTS[part](folder / part)
    assert not set(before) & set(run_ids(request_of()))


def test_the_same_files_are_the_same_model_wherever_they_lie(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "elsewhere" / "copy")
    (copy / "README.md").write_text("moved")
    assert resolve_model(str(copy)).fingerprint == resolve_model(str(folder)).fingerprint


def test_the_text_that_is_evaluated_counts(request_of, tmp_path):
    before = run_ids(request_of())
    with (tmp_path / "evaluation.txt").open("a") as file:
        file.write(" ")
    assert not set(before) & set(run_ids(request_of()))


def test_the_calibration_text_counts_for_what_is_compressed_only(request_of, tmp_path):
    dense, compressed = run_ids(request_of())
    with (tmp_path / "calibration.txt").open("a") as file:
        file.write(" ")
    again = run_ids(request_of())
    assert again[0] == dense
    assert again[1] != compressed


@pytest.mark.parametrize(
    "changes",
    [{"dtype": "float64"}, {"seed": 1}, {"window": 32}, {"limit": 1}],
    ids=lambda changes: next(iter(changes)),
)
def test_the_protocol_counts(request_of, tmp_path, changes):
    before = run_ids(request_of())
    if "window" in changes:
        changes = {"tasks": (task(tmp_path, options=changes),)}
    elif "limit" in changes:
        changes = {"tasks": (task(tmp_path, **changes),)}
    assert not set(before) & set(run_ids(request_of(**changes)))


@pytest.mark.parametrize(
    "changes",
    [
        {"methods": {"svd": {"junction": "right"}}},
        {"ratios": (0.4,)},
        {"calibration": {"samples": 3}},
        {"calibration": {"length": 9}},
        {"calibration": {"seed": 1}},
    ],
    ids=str,
)
def test_the_compression_counts_for_what_is_compressed_only(request_of, changes):
    request = request_of()
    dense, compressed = run_ids(request)
    if "calibration" in changes:
        spec = request.calibration.model_copy(update=changes["calibration"])
        changes = {"calibration": spec}
    again = run_ids(replace(request, **changes))
    assert again[0] == dense
    assert again[1] != compressed


def test_how_fast_it_runs_and_what_is_the_default_do_not_count(request_of, tmp_path):
    before = run_ids(request_of())
    assert run_ids(request_of(batch_size=1)) == before
    assert run_ids(request_of(methods={"svd": {"junction": "left"}})) == before


@pytest.fixture
def code(monkeypatch) -> dict[tuple[Registry, str], str]:
    """What is said of the code of plugins, to be filled."""
    said: dict[tuple[int, str], str] = {}
    monkeypatch.setattr(Registry, "code", lambda self, name: said.get((self.group, name), ""))
    return said


def test_the_code_of_others_counts_where_it_takes_part(request_of, code):
    dense, compressed = run_ids(request_of())
    code[compressors.group, "svd"] = "acme 1.0"
    with_method = run_ids(request_of())
    assert with_method[0] == dense
    assert with_method[1] != compressed
    code[compressors.group, "svd"] = "acme 1.1"
    assert run_ids(request_of())[1] not in {with_method[1], compressed}
    code[compressors.group, "asvd-l1"] = "zeta 1.0"
    code[families.group, "opt"] = "zeta 1.0"
    assert run_ids(request_of())[0] == dense
    code[families.group, "llama"] = "zeta 1.0"
    assert not {*with_method} & {*run_ids(request_of())}


def test_the_code_of_others_stands_in_the_record_and_in_a_saved_model(request_of, code, tmp_path):
    code[compressors.group, "svd"] = "acme 1.0"
    request = request_of(save=tmp_path / "saved")
    dense, compressed = run(request)
    assert dense.environment.plugins == {}
    assert compressed.environment.plugins == {"method svd": "acme 1.0"}
    assert read_saved_record(tmp_path / "saved").origin.plugins == {"method svd": "acme 1.0"}
    assert make_plan(request).variants[1].save is None
    code[compressors.group, "svd"] = "acme 1.1"
    with pytest.raises(UsageError, match="holds a saved model"):
        make_plan(request)


def test_a_record_that_left_code_out_is_measured_again_and_that_is_said(request_of, code, caplog):
    request = request_of()
    _, before = run(request)
    assert caplog.messages == []
    code[compressors.group, "svd"] = "acme 1.0"
    _, after = run(request)
    assert after.run_id != before.run_id
    (message,) = caplog.messages
    assert f"measured again: record {before.run_id} does not cover its code (acme 1.0)" in message
    caplog.clear()
    run(request)
    assert caplog.messages == []


LOCAL = """
task: own
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/rows.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: !function own_prompt.prompt
doc_to_choice: ["a", "b"]
doc_to_target: 0
"""


def test_a_record_of_a_task_without_its_code_is_measured_again(request_of, tmp_path, caplog):
    (tmp_path / "rows.jsonl").write_text('{"q": "the cat"}\n')
    (tmp_path / "own_prompt.py").write_text("def prompt(doc):\n    return doc['q']\n")
    (tmp_path / "own.yaml").write_text(LOCAL.replace("FOLDER", str(tmp_path)))
    request = request_of(methods={}, tasks=(TaskSpec(name=str(tmp_path / "own.yaml")),))
    (record,) = run(request)
    assert record.data.code == ("own_prompt.py",)
    cell = make_plan(request).variants[0].cells[0]
    former = cell.spec.run_id(record.model.fingerprint, "", cell.task.former)
    store.save(record.model_copy(update={"run_id": former}), request.output)
    assert make_plan(request).variants[0].pending == []
    (request.output / f"{record.run_id}.json").unlink()
    assert make_plan(request).variants[0].pending
    assert caplog.messages[0].endswith(
        f"measured again: record {former} does not cover its code (own_prompt.py)"
    )
