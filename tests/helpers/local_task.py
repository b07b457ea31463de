"""A task of lm-eval in files of its own: code, what this imports and reads, and rows."""

from __future__ import annotations

from pathlib import Path

ROWS = "".join(
    f'{{"q": "the thing {n} is", "choices": ["red", "blue"], "answer": {n % 2}}}\n'
    for n in range(4)
)
YAML = """
task: my
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/rows.jsonl}}
test_split: test
output_type: multiple_choice
process_docs: !function own.documents
doc_to_text: !function own.prompt
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
process_results: !function own.score
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""
OWN = """
import importlib
from own_help import right, shorten

WORDS = open(__file__.replace("own.py", "words.txt")).read()
rules = importlib.import_module("own_" + "rules")


def documents(data):
    return data.map(lambda row: {"q": shorten(row["q"])})


def prompt(doc):
    from own_late import ENDING

    return doc["q"] + ENDING


def score(doc, results):
    guess = max(range(len(results)), key=lambda i: results[i][0])
    return {"acc": float(right(guess, doc["answer"]))}
"""
FILES = {
    "own.py": OWN,
    "own_help.py": "from own_deep import LIMIT\n\n\ndef right(a, b):\n    return a == b\n\n\n"
    "def shorten(text):\n    return text[:LIMIT]\n",
    "own_deep.py": "LIMIT = 13\n",
    "own_late.py": "ENDING = ' so'\n",
    "own_rules.py": "RULE = 1\n",
    "words.txt": "a b c",
}


def write_task(folder: Path) -> Path:
    """Write it and return its YAML file; ``folder`` must be on ``sys.path``."""
    for name, text in (FILES | {"rows.jsonl": ROWS}).items():
        (folder / name).write_text(text)
    (folder / "my.yaml").write_text(YAML.replace("FOLDER", str(folder)))
    return folder / "my.yaml"
