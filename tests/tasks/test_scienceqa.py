"""ScienceQA: prompt, scoring, breakdown."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from harness.errors import UsageError
from harness.evaluation.task import Conditions, Task, Trained
from harness.plugins.options import configure
from harness.questions import asking
from harness.questions.multiple_choice import SLICES, ChoiceConfig, multiple_choice
from harness.questions.pictures import Picture
from harness.questions.rows import QuestionRows
from harness.questions.source import HubQuestions
from harness.records.results import TaskResult
from tasks import scienceqa
from tasks.scienceqa import ScienceQAConfig
from tests.helpers import question_files as files

INSTRUCTION = "\nAnswer with the option's letter from the given choices directly."


def pose(config=None, **changes):
    row = files.science(**changes)
    rows = QuestionRows("mine", [row], frozenset(row), "f")
    return multiple_choice(config or ChoiceConfig()).pose(rows.checked(0))


def prepare(tmp_path, rows: Sequence[object], **options):
    path = files.save_lines(tmp_path / "q.jsonl", rows)
    files.save_picture(tmp_path / "p.png")
    return scienceqa.plugin.prepare("scienceqa", str(path), ScienceQAConfig(**options))


def evaluate(prepared, answers: Sequence[str], **conditions) -> TaskResult:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asking, "write", files.answering(*answers))
        return prepared.evaluate(files.seeing(), Conditions(**conditions))


def test_it_is_a_task_with_training_data():
    assert isinstance(scienceqa.plugin, Task)
    assert isinstance(scienceqa.plugin, Trained)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "Which is red?\nA. an apple\nB. the sea"),
        ({"hint": "Look."}, "Context: Look.\nWhich is red?\nA. an apple\nB. the sea"),
        ({"hint": " "}, "Context:  \nWhich is red?\nA. an apple\nB. the sea"),
        ({"hint": "x\n"}, "Context: x\n\nWhich is red?\nA. an apple\nB. the sea"),
        ({"question": " Q? "}, " Q? \nA. an apple\nB. the sea"),
        ({"choices": ["ja "]}, "Which is red?\nA. ja "),
        ({"choices": list("vwxyz")}, "Which is red?\nA. v\nB. w\nC. x\nD. y\nE. z"),
    ],
)
def test_prompt(changes, expected):
    assert pose(**changes).text == expected + INSTRUCTION


@pytest.mark.parametrize(
    ("answer", "letter", "sentence"),
    [
        ("B", 1, 1),
        ("b", 1, 1),
        ("B. the sea", 1, 1),
        ("A", 0, 0),
        ("A. The answer is B.", 0, 0),
        ("(B)", 0, 0),
        ("the sea", 0, 0),
        ("", 0, 0),
        ("A B", 0, 0),
        ("The answer is B.", 0, 1),
        ("The answer is A.", 0, 0),
        ("E", 0, 0),
    ],
)
def test_scoring(answer, letter, sentence):
    assert pose(answer=1).score(answer) == letter
    assert pose(ChoiceConfig(parser="sentence"), answer=1).score(answer) == sentence


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "accuracy[prompt=direct,parse=letter,max_new_tokens=16]"),
        ({"parser": "sentence"}, "accuracy[prompt=direct,parse=sentence,max_new_tokens=16]"),
        ({"max_new_tokens": 4}, "accuracy[prompt=direct,parse=letter,max_new_tokens=4]"),
    ],
)
def test_the_metric_states_its_protocol(options, name, tmp_path):
    result = evaluate(prepare(tmp_path, [files.science()], **options), ["A"])
    assert {metric.name for metric in result.metrics} == {name}


@pytest.mark.parametrize("options", [{"parser": "number"}, {"subset": "all"}, {"tokens": 3}])
def test_options_are_checked(options):
    with pytest.raises(UsageError):
        configure(ScienceQAConfig, options, "scienceqa")


def test_answers_have_some_length():
    with pytest.raises(UsageError, match="--max-new-tokens 16"):
        ScienceQAConfig(max_new_tokens=0)


def test_breakdown(tmp_path):
    rows = [
        files.science(image="p.png", hint="h", grade="grade1"),
        files.science(image="p.png", grade="grade6", subject="social science"),
        files.science(hint="h", grade="grade7", subject="language science"),
        files.science(grade="grade12"),
    ]
    result = evaluate(prepare(tmp_path, rows), ["A", "B", "A", "B"])
    found = {metric.slice: (metric.value, metric.n) for metric in result.metrics}
    assert found == {
        None: (0.5, 4),
        "NAT": (0.5, 2),
        "SOC": (0.0, 1),
        "LAN": (1.0, 1),
        "TXT": (1.0, 2),
        "IMG": (0.5, 2),
        "NO": (0.0, 1),
        "G1-6": (0.5, 2),
        "G7-12": (0.5, 2),
    }
    assert list(found) == [None, *SLICES]
    assert all(metric.interval for metric in result.metrics)
    assert {metric.unit for metric in result.metrics} == {"questions"}
    assert [metric.stderr is None for metric in result.metrics if metric.n == 1] == [True] * 3


PICTURE = Picture("never opened", lambda: Image.new("RGB", (1, 1)))
any_row = st.builds(
    files.science,
    image=st.sampled_from([None, PICTURE]),
    hint=st.sampled_from(["", "h"]),
    subject=st.sampled_from(["natural science", "social science", "language science"]),
    grade=st.integers(1, 12).map("grade{}".format),
)


@given(st.lists(st.tuples(any_row, st.sampled_from("AB")), min_size=1, max_size=20))
def test_subjects_and_grades_divide_the_whole(drawn):
    rows, answers = zip(*drawn, strict=True)
    source = QuestionRows("mine", rows, frozenset(rows[0]), "f")
    protocol = multiple_choice(ChoiceConfig())
    questions = [protocol.pose(source.checked(index)) for index in range(len(rows))]
    scores = [one.score(answer) for one, answer in zip(questions, answers, strict=True)]
    metrics = protocol.measure.metrics(questions, scores)
    right = {metric.slice: round(metric.value * metric.n) for metric in metrics}
    count = {metric.slice: metric.n for metric in metrics}
    assert count[None] == len(rows)
    assert right[None] == answers.count("A")
    for parts in (SLICES[:3], SLICES[-2:]):
        assert sum(count.get(part, 0) for part in parts) == count[None]
        assert sum(right.get(part, 0) for part in parts) == right[None]
    both = sum(bool(row["hint"] and row["image"]) for row in rows)
    assert sum(count.get(part, 0) for part in ("TXT", "IMG", "NO")) - both == count[None]
    assert 0 not in count.values()


@pytest.mark.parametrize(
    ("absent", "gone"), [("subject", {"NAT", "SOC", "LAN"}), ("grade", {"G1-6", "G7-12"})]
)
def test_data_without_a_field_has_no_such_breakdown(absent, gone, tmp_path):
    row = files.science()
    del row[absent]
    result = evaluate(prepare(tmp_path, [row]), ["A"])
    slices = {metric.slice for metric in result.metrics}
    assert not slices & gone
    assert slices & {*SLICES}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"grade": "grade13"}, "'grade' must be one of grade1, .*, not 'grade13'"),
        ({"grade": "kindergarten"}, "'grade' must be one of"),
        ({"grade": None}, "'grade' must be text"),
        ({"subject": "history"}, "'subject' must be one of natural science, .*, not 'history'"),
        ({"answer": 2}, "'answer' must be a whole number from 0 to 1, not 2"),
        ({"answer": -1}, "'answer' must be a whole number"),
        ({"answer": "A"}, "'answer' must be a whole number"),
        ({"answer": True}, "'answer' must be a whole number"),
        ({"choices": []}, "'choices' must be a list of 1 or more texts"),
        ({"choices": "one, two"}, "'choices' must be a list"),
        ({"choices": ["one", 2]}, "'choices' must be a list"),
        ({"hint": None}, "'hint' must be text"),
        ({"question": 5}, "'question' must be text"),
    ],
)
def test_fields_that_do_not_fit_name_the_question(changes, said, tmp_path):
    with pytest.raises(UsageError, match=r"question 1 of .*q\.jsonl: " + said):
        prepare(tmp_path, [files.science(), files.science(**changes)])


@pytest.mark.parametrize("field", ["image", "question", "choices", "answer", "hint", "grade"])
def test_a_missing_field_is_named(field, tmp_path):
    row = files.science()
    del row[field]
    with pytest.raises(UsageError, match=f"question 1 of .* has no '{field}'; it has .*topic"):
        prepare(tmp_path, [files.science(), row])


def test_ids_are_the_datas_own_or_positions(tmp_path):
    result = evaluate(prepare(tmp_path, [files.science()] * 2), ["A", "A"])
    assert [sample.id for sample in result.samples] == ["0", "1"]
    own = [files.science(question_id=f"q{index}") for index in (5, 3)]
    result = evaluate(prepare(tmp_path, own), ["A", "A"])
    assert [sample.id for sample in result.samples] == ["q5", "q3"]


@pytest.mark.parametrize(
    ("ids", "said"),
    [([3, 3], "two questions with the id 3"), ([3, None], "row 1 .* has no 'question_id'")],
)
def test_ids_that_name_no_question(ids, said, tmp_path):
    with pytest.raises(UsageError, match=said):
        prepare(tmp_path, [files.science(question_id=one) for one in ids])


def test_empty_data(tmp_path):
    with pytest.raises(UsageError, match="is empty: it holds no questions"):
        prepare(tmp_path, [])


def test_the_subset_with_images(tmp_path):
    rows = [files.science(), files.science(image="p.png"), files.science()]
    result = evaluate(prepare(tmp_path, rows, subset="image"), ["A"])
    assert [sample.id for sample in result.samples] == ["1"]
    with pytest.raises(UsageError, match="holds no question that scienceqa asks"):
        prepare(tmp_path, rows[:1], subset="image")


@pytest.mark.parametrize(("subset", "config"), [("full", "FULL"), ("image", "IMG")])
def test_where_its_own_data_lies(subset, config):
    source = scienceqa.plugin.source(ScienceQAConfig(subset=subset))
    assert isinstance(source, HubQuestions)
    assert source.own.repository == "lmms-lab/ScienceQA"
    assert source.own.config == f"ScienceQA-{config}"
    assert source.own.splits == {"calibration": "train", "evaluation": "test"}


def test_training_answers_are_letters(tmp_path):
    files.save_picture(tmp_path / "p.png")
    rows = [files.science(answer=1), files.science(image="p.png")]
    files.save_lines(tmp_path / "train.jsonl", rows)
    files.save_lines(tmp_path / "test.jsonl", rows[:1])
    found = scienceqa.plugin.training("scienceqa", str(tmp_path))
    assert [(prompt.answer, len(prompt.images)) for prompt in found.prompts] == [("B", 0), ("A", 1)]
    tested = scienceqa.plugin.prepare("scienceqa", str(tmp_path), ScienceQAConfig())
    assert found.fingerprint != tested.data.fingerprint
    assert found.prompts[0].text == tested.questions[0].text
