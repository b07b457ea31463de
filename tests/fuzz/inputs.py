"""For each kind of input: a valid one, how it is changed, and what reads it."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from harness.assets.documents import read_documents
from harness.assets.weight_files import INDEX, SINGLE
from harness.checkpoints.load import load, load_model
from harness.checkpoints.manifest import MANIFEST, write_manifest
from harness.models.chat_template import render
from harness.plugins.options import configure
from harness.questions.json_lines import read_json_lines
from harness.questions.pictures import Picture, decoded
from harness.records import store
from harness.records.document import digest
from harness.support.offline import offline
from harness.sweep.recipe_file import read_recipe, requests
from leaderboards.board import board
from leaderboards.formats import rendered
from tests.assets.tiny_gguf import random_model, write_gguf
from tests.fuzz.mutations import (
    bytes_changed,
    header_changed,
    json_changed,
    start_changed,
    text_changed,
)
from tests.helpers.board_records import make_record
from tests.helpers.tiny_models import train_tokenizer

RECIPE = b"""
models: [builtin:opt-tiny]
methods:
  - svd
  - {name: latentllm, options: {junction: left, iterations: 2}}
ratios: [0.1, 0.3]
seeds: [0, 1]
tasks:
  - wiki-excerpt
  - {name: wikitext2, data: eval.txt, limit: 3, options: {window: 32}}
calibration: {text: cal.txt, samples: 4, length: 16}
dtype: float32
batch_size: 2
"""
TASK = """
task: choice
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/questions.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "Question: {{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: answer
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
"""
TEMPLATE = (
    b"{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[{{ m.content | trim }}]\n"
    b"{% else %}{{ m['content'] }}{% endif %}{% endfor %}"
    b"{% set ns = namespace(n=0) %}{% for i in range(3) %}{% set ns.n = ns.n + i %}{% endfor %}"
)
QUESTION = {"question": "Which is red?", "choices": ["an apple", "the sea"], "answer": 0}


class Kind(NamedTuple):
    """``seed(folder)`` makes a valid input and names the file to change."""

    seed: Callable[[Path], Path]
    change: Callable[[random.Random, bytes], bytes]
    read: Callable[[Path], object]


def linked(source: Path, folder: Path) -> None:
    """A copy of ``source`` whose files are the same ones."""
    shutil.copytree(source, folder, copy_function=os.link)


def kinds(model: Path, saved: Path) -> dict[str, Kind]:
    """The kinds by name, of the small ``model`` and the ``saved`` one."""

    def model_file(name: str) -> Callable[[Path], Path]:
        def seed(folder: Path) -> Path:
            linked(model, folder / "model")
            return folder / "model" / name

        return seed

    def saved_file(name: str) -> Callable[[Path], Path]:
        def seed(folder: Path) -> Path:
            linked(saved, folder / "model")
            return folder / "model" / name

        return seed

    return {
        "config": Kind(model_file("config.json"), json_changed, _load_and_run),
        "safetensors": Kind(model_file("model.safetensors"), header_changed, _load_and_run),
        "index": Kind(_sharded(model), json_changed, _load_and_run),
        "gguf": Kind(_gguf, start_changed, _load_gguf),
        "tokenizer": Kind(model_file("tokenizer.json"), json_changed, _load_and_run),
        "tokenizer-config": Kind(model_file("tokenizer_config.json"), json_changed, _load_and_run),
        "manifest": Kind(saved_file("harness.json"), json_changed, _load_saved),
        "saved-record": Kind(saved_file("record.json"), json_changed, _load_saved),
        "record": Kind(_record, json_changed, _rank),
        "sealed-record": Kind(_record, _sealed, _rank),
        "sealed-model": Kind(saved_file("record.json"), json_changed, _load_resealed),
        "recipe": Kind(_written("recipe.yaml", RECIPE), text_changed, _plan),
        "task": Kind(_task, text_changed, _prepare),
        "json-lines": Kind(_questions, text_changed, _read_rows),
        "template": Kind(_written("template", TEMPLATE), text_changed, _render),
        "image": Kind(_picture, bytes_changed, _show),
    }


def _written(name: str, content: bytes) -> Callable[[Path], Path]:
    def seed(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return seed


def _sharded(model: Path) -> Callable[[Path], Path]:
    """Its weights in two files and an index."""

    def seed(folder: Path) -> Path:
        linked(model, folder / "model")
        weights = folder / "model" / SINGLE
        tensors = load_file(weights)
        weights.unlink()
        names = sorted(tensors)
        listed = {}
        for number, part in enumerate((names[::2], names[1::2])):
            shard = f"model-0000{number + 1}-of-00002.safetensors"
            save_file({name: tensors[name] for name in part}, folder / "model" / shard)
            listed |= dict.fromkeys(part, shard)
        path = folder / "model" / INDEX
        path.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": listed}))
        return path

    return seed


def _gguf(folder: Path) -> Path:
    path = folder / "model.gguf"
    path.write_bytes(GGUF)
    return path


def _gguf_bytes() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        return write_gguf(path, random_model("qwen3", tied=True)).read_bytes()


def _load_gguf(path: Path) -> None:
    _run(load_model(str(path)))


def _load_and_run(path: Path) -> None:
    _run(load_model(str(path.parent)))


def _load_saved(path: Path) -> None:
    _run(load(path.parent))


def _load_resealed(path: Path) -> None:
    manifest = path.parent / MANIFEST
    manifest.unlink()  # a link
    write_manifest(path.parent)
    _load_saved(path)


@torch.no_grad()
def _run(subject) -> None:
    ids = subject.tokenizer("the cat " + "a" * 3000 + "b", return_tensors="pt").input_ids
    known = subject.model.config.vocab_size
    subject.model(input_ids=ids[:, :8].clamp(max=known - 1))


def _record(folder: Path) -> Path:
    return store.save(make_record(), folder / "results")


def _sealed(chance: random.Random, content: bytes) -> bytes:
    """Changed by somebody who knows how to seal a record."""
    changed = json_changed(chance, content)
    try:
        record = json.loads(changed)
        record["digest"] = digest({k: v for k, v in record.items() if k != "digest"})
    except (ValueError, AttributeError):  # it is no object any more
        return changed
    return json.dumps(record).encode()


def _rank(path: Path) -> None:
    list(rendered(board(store.scan(path.parent, layers=False)), ["md", "json"]))
    store.load(path)


def _plan(path: Path) -> None:
    requests(read_recipe(path), path.parent / "results")


def _task(folder: Path) -> Path:
    (folder / "questions.jsonl").write_text(json.dumps(QUESTION) + "\n")
    path = folder / "task.yaml"
    path.write_text(TASK.replace("FOLDER", str(folder)))
    return path


def _prepare(path: Path) -> None:
    from tasks.lm_eval import plugin

    with offline():  # a task may name a data set of the hub, which is no doing of ours
        plugin.prepare(str(path), None, configure(plugin.config, {}, "lm-eval"))


def _picture(folder: Path) -> Path:
    path = folder / "picture.png"
    Image.new("RGB", (8, 6), (200, 10, 10)).save(path)
    return path


def _questions(folder: Path) -> Path:
    _picture(folder)
    path = folder / "questions.jsonl"
    rows = [
        QUESTION | {"image": "picture.png", "text": "the cat sat"},
        QUESTION | {"text": "on the red house", "image": None},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _read_rows(path: Path) -> None:
    read_documents(path)
    for row in read_json_lines(path, "own").rows:
        if isinstance(picture := row.get("image"), Picture):
            picture.open()


TOKENIZER = train_tokenizer()
GGUF = _gguf_bytes()


def _render(path: Path) -> None:
    reader = TOKENIZER
    reader.chat_template = path.read_bytes().decode(errors="replace")
    turns = [{"role": "user", "content": "the cat"}, {"role": "assistant", "content": "sat"}]
    render(reader, turns, "own", answers=True)


def _show(path: Path) -> None:
    Picture(path.name, lambda: decoded(io.BytesIO(path.read_bytes()).getvalue())).open()
