"""What a task of local files is: its code, all that this imports and reads, and what it makes."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.evaluation.task import Conditions
from tasks.lm_eval import plugin
from tasks.lm_eval.task import LmEvalConfig, PreparedLmEval
from tests.helpers.local_task import FILES, OWN, write_task

PLAIN = """
task: plain
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/rows.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{q}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
"""
Prepare = Callable[[], PreparedLmEval]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_task(tmp_path)
    (tmp_path / "plain.yaml").write_text(PLAIN.replace("FOLDER", str(tmp_path)))
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.fixture
def prepare(folder: Path) -> Prepare:
    return lambda: plugin.prepare(str(folder / "my.yaml"), None, LmEvalConfig())


def test_every_file_of_code_and_every_file_that_it_reads_counts(prepare: Prepare) -> None:
    prepared = prepare()
    assert prepared.data.code == tuple(sorted(FILES))
    assert {path.name for path in prepared.files} == set(FILES)


def test_a_task_that_did_not_change_keeps_its_name(prepare: Prepare) -> None:
    assert prepare().data == prepare().data


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("own.py", "1, 'x'", ""),
        ("own_help.py", "==", "!="),
        ("own_deep.py", "13", "12"),
        ("own_late.py", "so", "no"),
        ("own_rules.py", "1", "2"),
        ("words.txt", "a", "d"),
    ],
)
def test_an_edit_makes_another_task(
    prepare: Prepare, folder: Path, file: str, old: str, new: str
) -> None:
    """Of the same length and at the same second, which compiled files do not notice."""
    before = prepare()
    stat = (folder / file).stat()
    text = (folder / file).read_text()
    (folder / file).write_text(text.replace(old, new) if old in text else text + "\n")
    os.utime(folder / file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    after = prepare()
    assert after.data.fingerprint != before.data.fingerprint
    assert after.former == before.former or file in {"own.py", "own_deep.py"}


def test_an_edited_helper_is_what_runs(prepare: Prepare, folder: Path, subject) -> None:
    model = subject("opt")
    first = prepare()
    was = first.evaluate(model, Conditions()).metrics[0].value
    (folder / "own_help.py").write_text(FILES["own_help.py"].replace("==", "!="))
    is_now = prepare().evaluate(model, Conditions()).metrics[0].value
    assert was + is_now == pytest.approx(1)


def test_documents_are_those_of_the_code_as_it_is(prepare: Prepare, folder: Path, subject) -> None:
    """``datasets`` would answer with what the function of this name made before."""
    own = OWN.replace('float(right(guess, doc["answer"]))', 'float(len(doc["q"]))')
    (folder / "own.py").write_text(own)
    model = subject("opt")
    assert prepare().evaluate(model, Conditions()).metrics[0].value == 13
    (folder / "own_deep.py").write_text("LIMIT = 5\n")
    assert prepare().evaluate(model, Conditions()).metrics[0].value == 5


def test_a_task_without_code_goes_by_its_documents_alone(folder: Path) -> None:
    prepared = plugin.prepare(str(folder / "plain.yaml"), None, LmEvalConfig())
    assert prepared.data.fingerprint == prepared.former
    assert (prepared.data.code, prepared.files) == ((), ())


def test_what_is_drawn_at_random_is_drawn_alike(prepare: Prepare, folder: Path) -> None:
    text = OWN.replace('return doc["q"] + ENDING', 'return doc["q"] + str(random.random())')
    (folder / "own.py").write_text("import random\n" + text)
    assert prepare().data == prepare().data


def test_a_prompt_that_cannot_be_made_names_document_and_line(
    prepare: Prepare, folder: Path
) -> None:
    (folder / "own.py").write_text(OWN.replace("+ ENDING", "+ [ENDING][doc['answer']]"))
    line = 1 + OWN[: OWN.index('return doc["q"]')].count("\n")
    place = re.escape(f"{folder / 'own.py'}:{line}")
    with pytest.raises(UsageError, match=rf"cannot pose document 1 \({place}\): IndexError"):
        prepare()


LATE = """
from pathlib import Path

PLACE = Path(__file__).with_name("late.txt")


def score(doc, results):
    if CONDITION:
        PLACE.read_text()
    return {"acc": 1.0}
"""


def test_a_file_read_while_it_scores_counts(prepare: Prepare, folder: Path, subject) -> None:
    (folder / "late.txt").write_text("x")
    (folder / "own.py").write_text(OWN + LATE.replace("CONDITION", "True"))
    before = prepare()
    assert "late.txt" in before.data.code
    before.evaluate(subject("opt"), Conditions())
    (folder / "late.txt").write_text("y")
    assert prepare().data.fingerprint != before.data.fingerprint


def test_a_file_read_for_some_answers_only_is_refused(
    prepare: Prepare, folder: Path, subject
) -> None:
    (folder / "late.txt").write_text("x")
    (folder / "own.py").write_text(OWN + LATE.replace("CONDITION", "doc['answer']"))
    prepared = prepare()
    with pytest.raises(UsageError, match=r"late\.txt while it runs.*when it is imported"):
        prepared.evaluate(subject("opt"), Conditions())


@pytest.mark.parametrize(
    "read",
    [
        "open(HERE / 'own.data').read()",
        "(HERE / 'own.data').read_bytes()",
        "os.open(HERE / 'own.data', os.O_RDONLY)",
        "__import__('sqlite3').connect(HERE / 'own.data')",
        "runpy.run_path(str(HERE / 'own.data'))",
        "exec(open(HERE / 'own.data').read())",
        "__import__('numpy').fromfile(HERE / 'own.data', dtype='u1')",
    ],
)
def test_however_a_file_is_read_it_counts(prepare: Prepare, folder: Path, read: str) -> None:
    (folder / "own.data").write_text("")
    head = "import os, runpy\nfrom pathlib import Path\n\nHERE = Path(__file__).parent\n"
    (folder / "own.py").write_text(f"{head}{read}\n{OWN}")
    assert "own.data" in prepare().data.code


def test_data_that_datasets_keeps_count_alike_each_time(prepare: Prepare, folder: Path) -> None:
    """They are opened the first time only; the documents count."""
    load = (
        "import datasets\n\n\ndef load(**_):\n    return datasets.load_dataset('json', "
        f"data_files={{'test': {str(folder / 'other.jsonl')!r}}})\n"
    )
    (folder / "other.jsonl").write_text((folder / "rows.jsonl").read_text())
    (folder / "own.py").write_text(OWN + load)
    text = (folder / "my.yaml").read_text()
    kept = [line for line in text.splitlines() if not line.startswith("dataset_")]
    (folder / "my.yaml").write_text("\n".join(["custom_dataset: !function own.load", *kept]))
    before = prepare()
    assert before.data == prepare().data
    (folder / "other.jsonl").write_text((folder / "rows.jsonl").read_text().replace("red", "tan"))
    assert before.data.fingerprint != prepare().data.fingerprint


def test_modules_of_others_are_left_alone(prepare: Prepare) -> None:
    before = {name: module for name, module in sys.modules.items() if "own" not in name}
    prepare()
    prepare()
    assert all(sys.modules[name] is module for name, module in before.items())
