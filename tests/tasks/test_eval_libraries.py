"""What both adapters to evaluation libraries build on."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
from datasets.exceptions import DatasetNotFoundError

from harness.errors import AssetError, HarnessError, NonFiniteError, UsageError
from tasks.eval_libraries.evaluation import whole_limit
from tasks.eval_libraries.failures import (
    named_downloading,
    named_loading,
    named_reading,
    named_running,
    named_scoring,
)
from tasks.eval_libraries.library import LM_EVAL, LMMS_EVAL
from tasks.eval_libraries.names import declares_group, task_file, unknown_task
from tasks.eval_libraries.results import Report, common_direction, task_result, tasks_below

LIBRARIES = pytest.mark.parametrize("library", [LM_EVAL, LMMS_EVAL], ids=lambda one: one.name)


class Task:
    task_name = "mine"
    DATASET_PATH = "someone/data"
    DATASET_NAME = None
    config = SimpleNamespace(task="mine")

    def process_results(self, document, answers):
        raise KeyError(answers[0])


class RetriedTask(Task):
    attempts = 0

    def process_results(self, document, answers):
        pytest.fail("tried five times")

    def _single(self, document, answers):
        self.attempts += 1
        return {"acc": document["right"] == answers[0]}

    process_results.__wrapped__ = _single


def report(values, directions=None, **changes) -> Report:
    pairs = {tuple(key.split(",")): 3 for key in values if "_stderr" not in key}
    return Report("mine", "", " (0-shot)", values, directions or {"acc": True}, pairs)


@LIBRARIES
@pytest.mark.parametrize("error", [ConnectionError("no\nroute"), DatasetNotFoundError("not there")])
def test_data_that_cannot_be_had(library, error) -> None:
    with (
        pytest.raises(AssetError, match=rf"data set someone/data of {library.name} task 'mine'"),
        named_downloading(library, Task()),
    ):
        raise error
    with (
        pytest.raises(AssetError, match=rf"{library.name} task 'mine' cannot .*{library.prefix}F"),
        named_loading(library, "mine"),
    ):
        raise error


@LIBRARIES
@pytest.mark.parametrize(
    ("named", "what", "kind"),
    [
        (named_loading, "does not load", UsageError),
        (named_reading, "cannot be read", AssetError),
        (named_running, "does not run", UsageError),
    ],
)
def test_whatever_a_task_raises_is_one_line_that_names_it(library, named, what, kind) -> None:
    with (
        pytest.raises(kind, match=rf"{library.name} task 'mine' {what}: KeyError: 'a b'") as told,
        named(library, "mine"),
    ):
        raise KeyError("a b")
    assert "\n" not in str(told.value)


@LIBRARIES
@pytest.mark.parametrize("named", [named_loading, named_reading, named_running])
@pytest.mark.parametrize("error", [MemoryError("full"), HarnessError("ours")])
def test_memory_and_our_own_errors_pass(library, named, error) -> None:
    with pytest.raises(type(error), match=str(error)), named(library, "mine"):
        raise error


def test_what_torch_raises_while_running_passes() -> None:
    with pytest.raises(RuntimeError, match="out of memory"), named_running(LM_EVAL, "mine"):
        raise RuntimeError("CUDA out of memory.")


@LIBRARIES
def test_failing_score_names_the_answer(library) -> None:
    task = Task()
    with (
        named_scoring(library, task),
        pytest.raises(UsageError, match=r"'mine' cannot score the answer \['B'\]: KeyError"),
    ):
        task.process_results({}, ["B"])
    assert "process_results" not in vars(task)


def test_a_score_that_is_retried_is_tried_once() -> None:
    task = RetriedTask()
    with named_scoring(LMMS_EVAL, task):
        assert task.process_results({"right": "B"}, ["B"]) == {"acc": True}
    assert task.attempts == 1


@pytest.mark.parametrize("limit", [0, 0.5, 2.5, -1])
def test_a_share_is_no_limit(limit) -> None:
    with pytest.raises(UsageError, match=f"limit {re.escape(str(limit))} is no number"):
        whole_limit(limit)
    assert whole_limit(None) is None
    assert whole_limit(3) == 3


@pytest.mark.parametrize("text", ["task: own", '"task": "own" # mine', "'task' : own"])
def test_a_name_is_found_however_it_is_quoted(tmp_path, text) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.yaml").write_text("group: own\ntask: [own]\n")
    (tmp_path / "b.yaml").write_text('"group": own\ntask: own\n')
    (tmp_path / "deep" / "c.yaml").write_text(f"{text}\ndataset_path: json\n")
    assert task_file("own", tmp_path) == tmp_path / "deep" / "c.yaml"
    assert task_file("ow", tmp_path) is None
    assert declares_group((tmp_path / "b.yaml").read_bytes())


def test_a_path_is_absolute_wherever_it_starts(tmp_path, monkeypatch) -> None:
    (tmp_path / "own.yaml").write_text("task: own")
    monkeypatch.chdir(tmp_path)
    assert task_file("own.yaml", tmp_path / "nothing") == tmp_path / "own.yaml"
    with pytest.raises(UsageError, match=r"no task file 'absent\.yml'"):
        task_file("absent.yml", tmp_path)


@LIBRARIES
def test_unknown_names(library, tmp_path) -> None:
    (tmp_path / "data.jsonl").touch()
    near = unknown_task(library, "wikitex", ["wikitext", "other"])
    assert str(near) == f"unknown {library.name} task 'wikitex'; did you mean wikitext?"
    assert library.listing in str(unknown_task(library, "qqqq", ["wikitext"]))
    path = tmp_path / "data.jsonl"
    file = unknown_task(library, str(path), ["wikitext"])
    assert f"is a file, no task; write TASK={path}, e.g. {library.own_task}={path}" in str(file)


@LIBRARIES
def test_reports_become_metrics(library) -> None:
    values = {
        "acc,none": 0.5,
        "acc_stderr,none": "N/A",
        "acc,short": 1,
        "acc_stderr,short": 0.1,
        "table,none": {"a": 1},
        "undeclared,none": 2.0,
    }
    directions = {"acc": True, "table": True, "undeclared": None}
    result = task_result(library, [report(values, directions)], [], 4)
    assert [(m.name, m.value, m.stderr, m.n) for m in result.metrics] == [
        ("acc (0-shot)", 0.5, None, 3),
        ("acc,short (0-shot)", 1.0, 0.1, 3),
    ]


@LIBRARIES
def test_a_metric_must_be_finite_and_one_must_exist(library) -> None:
    with pytest.raises(NonFiniteError, match=f"{library.name} task 'mine': acc is nan"):
        task_result(library, [report({"acc,none": float("nan")})], [], 4)
    with pytest.raises(UsageError, match=f"{library.name} task 'mine' reports no number"):
        task_result(library, [report({"acc,none": "a file"})], [], 4)


def test_groups_and_directions() -> None:
    groups = {"all": ["some", "c"], "some": ["a", "b"]}
    assert tasks_below("all", groups) == ["a", "b", "c"]
    assert tasks_below("c", groups) == ["c"]
    assert common_direction([True, None, True]) is True
    assert common_direction([False]) is False
    assert common_direction([True, False]) is common_direction([None]) is None
