"""No file is opened while a model loads or a task is prepared that no fingerprint covers."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.assets.folders import model_files
from harness.assets.gguf import convert_gguf
from harness.checkpoints.load import load_model
from harness.checkpoints.manifest import MANIFEST
from harness.checkpoints.resolve import resolve_model
from harness.checkpoints.saved_record import RECORD
from harness.checkpoints.standalone import FILE
from harness.experiments.resolve import prepared_task
from harness.records.spec import TaskSpec
from tasks.eval_libraries.local_files import is_local
from tests.assets.tiny_gguf import random_model, write_gguf
from tests.helpers.local_task import write_task
from tests.helpers.opened_files import opened_below
from tests.helpers.question_files import save_lines, save_picture, science

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what is opened")

DESCRIBE_ONLY = {MANIFEST, RECORD, "LICENSE", FILE}
"""They say how the weights came about, and are checked against one another."""


@contextmanager
def spied(*folders: Path) -> Iterator[set[Path]]:
    """Files opened below ``folders`` by whomever, and the user's own elsewhere by Python."""
    elsewhere: set[str] = set()
    listening = [True]

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if listening and event == "open" and isinstance(arguments[0], str):
            elsewhere.add(arguments[0])

    sys.addaudithook(note)
    with opened_below(*folders) as opened:
        yield opened
    listening.clear()
    opened |= {Path(name) for name in elsewhere if is_local(name)}


@pytest.fixture
def plain(model_folder, tmp_path) -> Path:
    return Path(shutil.copytree(model_folder("llama"), tmp_path / "plain"))


def builtin(folder: Path) -> str:
    return "builtin:opt-tiny"


def builtin_with_processor(folder: Path) -> str:
    return "builtin:llava-tiny"


def with_everything(folder: Path) -> str:
    """All that transformers would take, and much that it would not."""
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tools.jinja").write_text("x")
    (folder / "added_tokens.json").write_text("{}")
    (folder / "special_tokens_map.json").write_text("{}")
    for name in ("modeling_own.py", "README.md", "tokenization_own.py", "model.pt", "notes.txt"):
        (folder / name).write_text("raise SystemExit")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "config.json").write_text("{}")
    return str(folder)


@pytest.mark.parametrize("prepare", [builtin, builtin_with_processor, str, with_everything])
def test_all_that_is_opened_of_a_model_makes_its_fingerprint(plain, prepare):
    reference = prepare(plain)
    folder = resolve_model(reference).folder
    with spied(folder) as opened:
        load_model(reference)
    assert folder / "model.safetensors" in opened
    assert opened <= set(model_files(folder))


def test_all_that_is_opened_of_a_saved_model_makes_its_fingerprint(saved):
    with spied(saved) as opened:
        load_model(str(saved))
    assert {path.name for path in opened - set(model_files(saved))} <= DESCRIBE_ONLY
    assert {path.name for path in opened} >= {"tokenizer.json", "model.safetensors.index.json"}


def test_of_a_gguf_file_nothing_else_is_opened(plain, tmp_path):
    with_everything(plain)
    file = write_gguf(plain / "own.gguf", random_model("llama", tied=True))
    with spied(plain) as opened:
        made = convert_gguf(file, "own").folder
    assert opened == {file}
    with spied(plain, made) as opened:
        load_model(str(file))
    assert opened - {file} <= {*model_files(made), made / "note.txt", made / ".manifest.json"}


def lines(folder: Path) -> TaskSpec:
    save_picture(folder / "picture.png")
    save_lines(folder / "rows.jsonl", [science(image="picture.png")])
    return TaskSpec(name="scienceqa", data=str(folder / "rows.jsonl"))


def text(folder: Path) -> TaskSpec:
    (folder / "text.txt").write_text("the cat sat on the mat " * 40)
    return TaskSpec(name="wikitext2", data=str(folder / "text.txt"))


def with_code(folder: Path) -> TaskSpec:
    file = write_task(folder)
    (folder / "base.yaml").write_text("task: my\n")
    file.write_text(file.read_text().replace("task: my", "include: base.yaml"))
    return TaskSpec(name=str(file))


EDITS = {
    ".jsonl": lambda content: content.replace(b"red", b"tan"),
    ".txt": lambda content: content + b" more",
    ".py": lambda content: content + b"\nMORE = 1\n",
    ".yaml": lambda content: content + b"description: more\n",
    ".png": lambda content: content[:-30] + b"more" + content[-26:],
}


@pytest.mark.parametrize("make", [lines, text, with_code])
def test_all_that_is_opened_for_a_task_makes_its_fingerprint(
    make: Callable[[Path], TaskSpec], tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(tmp_path)
    spec = make(tmp_path)
    written = {path for path in tmp_path.iterdir() if path.is_file()}
    with spied(tmp_path) as opened:
        before = prepared_task(spec)[1].data.fingerprint
    assert opened == written
    for path in opened:
        content = path.read_bytes()
        path.write_bytes(EDITS[path.suffix](content))
        assert prepared_task(spec)[1].data.fingerprint != before, path
        path.write_bytes(content)
    assert prepared_task(spec)[1].data.fingerprint == before
