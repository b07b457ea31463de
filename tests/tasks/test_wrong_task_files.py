"""A task file that cannot work is refused before a model is loaded, with what is wrong in it."""

from __future__ import annotations

import json

import pytest

from harness.errors import UsageError
from harness.evaluation.task import find_task

TASK = """
task: mine
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: generate_until
doc_to_text: {text}
doc_to_target: "{{{{a}}}}"
generation_kwargs: {{until: ["."], max_gen_toks: 2}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
{more}
"""
CODE = """
def prompt(document):
    if document["q"] == "q3":
        return document["absent"]
    return document["q"]


def documents(rows):
    return rows.map(lambda row: {"more": row["absent"]})
"""


@pytest.fixture
def prepare(tmp_path):
    def prepared(text='"{{q}}"', more="", **options):
        data = tmp_path / "rows.jsonl"
        rows = [{"q": f"q{number}", "a": "x"} for number in range(6)]
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
        (tmp_path / "makers.py").write_text(CODE)
        path = tmp_path / "mine.yaml"
        path.write_text(TASK.format(data=data, text=text, more=more))
        plugin = find_task(str(path))
        return plugin.prepare(str(path), None, plugin.config(**options))

    return prepared


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"text": '"{{absent}}"'}, r"mine\.yaml.*'absent' is undefined"),
        ({"text": "!function makers.prompt"}, r"document 3 \(.*/makers\.py:4\): KeyError"),
        ({"more": "process_docs: !function makers.documents"}, r"KeyError.*/makers\.py:9\)"),
        ({"text": "!function makers.nothing"}, r"mine\.yaml.*no function 'nothing'"),
        ({"text": "aq"}, r"'mine' names the column 'aq' as doc_to_text, .* \(they have a, q\)"),
        ({"more": "doc_to_target: target"}, r"column 'target' as doc_to_target, .*have a, q"),
        ({"more": "dataset_kwargs: {}"}, r"'mine' reads json files and names none; name them"),
        ({"more": "dataset_kwargs: {data_files: ''}"}, r"'mine' reads json files and names none"),
    ],
)
def test_a_file_and_its_functions_are_named_with_line_and_document(prepare, given, message):
    with pytest.raises(UsageError, match=message):
        prepare(**given)


def test_a_column_and_words_in_a_template_are_prompts(prepare):
    prepare(text="q")
    prepare(text="\"{{ 'Question' }}\"")
    prepare(text='""')


@pytest.mark.parametrize(
    ("more", "shots", "available"),
    [("fewshot_split: test", 6, 5), ("fewshot_split: test", 50, 5)],
)
def test_more_examples_than_there_are_beside_the_document_are_refused(
    prepare, more, shots, available
):
    with pytest.raises(UsageError, match=f"has {available} examples for a prompt, {shots} are"):
        prepare(more=f"{more}\nnum_fewshot: {shots}")
    with pytest.raises(UsageError, match=f"has {available} examples for a prompt, {shots} are"):
        prepare(more=f"{more}\nnum_fewshot: 1", num_fewshot=shots)


def test_as_many_examples_as_there_are_is_fine(prepare):
    prepare(more="fewshot_split: test\nnum_fewshot: 5")
