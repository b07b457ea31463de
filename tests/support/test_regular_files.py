"""What a person names as a file has to be one: nothing waits for a pipe."""

from __future__ import annotations

import os
import shutil

import pytest

from harness.assets.documents import read_documents
from harness.checkpoints.resolve import resolve_model
from harness.errors import UsageError
from harness.gate.baseline import read_baseline
from harness.questions.json_lines import read_json_lines
from harness.records import store
from harness.support.regular_files import read_regular

READERS = {
    "text.txt": read_documents,
    "rows.jsonl": read_documents,
    "rows.json.gz": read_documents,
    "rows.parquet": read_documents,
    "questions.jsonl": lambda path: read_json_lines(path, "q"),
    "record.json": store.load,
    "gate.json": read_baseline,
    "recipe.yaml": read_regular,
    "model.gguf": lambda path: resolve_model(str(path)),
}


@pytest.mark.parametrize("name", READERS)
def test_a_pipe_is_refused_by_every_reader(tmp_path, name):
    path = tmp_path / name
    os.mkfifo(path)
    with pytest.raises(UsageError, match=f"{name} is not a regular file; pass the path"):
        READERS[name](path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_pipe_in_a_model_folder_is_refused(tmp_path, model_folder, name):
    folder = tmp_path / "model"
    shutil.copytree(model_folder("llama"), folder)
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(UsageError, match=f"{name} is not a regular file"):
        resolve_model(str(folder))


def test_a_pipe_among_records_is_a_problem_and_the_others_are_read(tmp_path):
    os.mkfifo(tmp_path / "a.json")
    ((path, message),) = store.load_all(tmp_path)[1]
    assert (path.name, message) == (
        "a.json",
        "is not a regular file; pass the path of an ordinary file",
    )


def test_a_link_to_a_file_is_a_file(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link") == b"x"
