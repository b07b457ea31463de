"""What lm-eval does in silence is counted and stands in the result."""

from __future__ import annotations

import copy
import dataclasses
import logging
import warnings

import pytest
import torch

from harness.errors import UsageError
from harness.evaluation.task import Conditions
from tasks.eval_libraries import classes
from tasks.eval_libraries.heard import Heard, listening
from tasks.lm_eval import plugin
from tasks.lm_eval.task import LmEvalConfig
from tests.tasks.test_lm_eval import DOCUMENTS, directly, folder, write_lines

__all__ = ["folder"]

CUT = "prompts cut"
OWN = "few-shot examples from the evaluated documents"


@pytest.fixture
def cautions(folder):
    """``cautions(subject, task)``: by kind, the effect and the count."""

    def run(subject, task: str, limit: int | None = None, **options: int):
        prepared = plugin.prepare(str(folder / f"{task}.yaml"), None, LmEvalConfig(**options))
        found = prepared.evaluate(subject, Conditions(batch_size=4, limit=limit)).cautions
        return {caution.kind: (caution.effect, caution.count) for caution in found}

    return run


@pytest.mark.parametrize("task", ["choice", "pages"])
def test_nothing_is_said_where_nothing_happened(subject, cautions, task) -> None:
    assert cautions(subject("llama"), task) == {}


def test_cut_prompts_are_counted_by_document(subject, cautions) -> None:
    model = subject("llama")
    assert cautions(model, "choice", num_fewshot=8)[CUT] == ("changes the number", DOCUMENTS)
    assert cautions(model, "choice", num_fewshot=8, limit=3)[CUT] == ("changes the number", 3)


def test_some_prompts_cut(subject, folder, cautions) -> None:
    rows = [{"question": "the cat " * size, "choices": ["a", "b"], "answer": 0} for size in (1, 90)]
    write_lines(folder / "long.jsonl", [*rows, rows[1]])
    for task in ("choice", "answers"):
        text = (folder / f"{task}.yaml").read_text().replace("questions.jsonl", "long.jsonl")
        (folder / "long.yaml").write_text(text)
        for size in (1, 8):
            prepared = plugin.prepare(str(folder / "long.yaml"), None, LmEvalConfig())
            found = prepared.evaluate(subject("llama"), Conditions(batch_size=size)).cautions
            (cut,) = (caution for caution in found if caution.kind == CUT)
            assert (cut.effect, cut.count) == ("changes the number", 2)
            assert cut.text.startswith("2 of 3 prompts cut from the left to the 128 tokens")


def test_examples_from_the_evaluated_documents(subject, cautions) -> None:
    model = subject("llama")
    found = cautions(model, "answers", num_fewshot=1)
    assert found[OWN] == ("changes the number", DOCUMENTS)
    assert cautions(model, "answers", num_fewshot=1, limit=5)[OWN] == ("changes the number", 5)
    assert OWN not in cautions(model, "answers")
    assert OWN not in cautions(model, "choice", num_fewshot=1)


def test_answers_that_ended_by_length_or_could_not_be_read(subject, cautions, folder) -> None:
    model = subject("llama")
    rows = directly(model, folder, "answers")["samples"]["answers"]
    prompts = {row["doc_id"]: row["arguments"][0][0] for row in rows}
    open_ended = 0
    for prompt in prompts.values():
        asked = model.tokenizer(prompt, return_tensors="pt").input_ids[:, -(128 - 4) :]
        new = model.model.generate(asked, do_sample=False, max_new_tokens=4)[0, asked.shape[1] :]
        said = model.tokenizer.decode(new)
        open_ended += model.tokenizer.eos_token_id not in new and "\n" not in said
    unread = sum(row["filtered_resps"] == ["[invalid]"] for row in rows if row["filter"] != "whole")
    found = cautions(model, "answers")
    assert found["answers ended by length"] == ("advice", open_ended)
    assert found.get("answers not read by first-word", ("advice", 0)) == ("advice", unread)
    assert open_ended


def test_unread_answers(subject, cautions, folder) -> None:
    text = (folder / "answers.yaml").read_text()
    (folder / "strict.yaml").write_text(text.replace('"(\\\\w+)"', '"####"'))
    found = cautions(subject("llama"), "strict")
    assert found["answers not read by first-word"] == ("advice", DOCUMENTS)
    assert "answers not read by whole" not in found


def test_tokenizer_without_bos_where_it_matters(subject, cautions) -> None:
    built = subject("llama")
    tokenizer = copy.deepcopy(built.tokenizer)
    tokenizer.bos_token = None
    without = dataclasses.replace(built, tokenizer=tokenizer)
    assert cautions(without, "pages")["no BOS token"] == ("changes the number", 5)
    assert "no BOS token" not in cautions(without, "choice")


def test_tokenizer_without_padding_token_where_it_matters(subject, cautions) -> None:
    built = subject("llama")
    tokenizer = copy.deepcopy(built.tokenizer)
    tokenizer.pad_token = None
    without = dataclasses.replace(built, tokenizer=tokenizer)
    assert cautions(without, "answers")["no padding token"] == ("advice", DOCUMENTS)
    assert "no padding token" not in cautions(without, "choice")


def test_messages_of_libraries_are_classed_and_counted(subject, cautions, monkeypatch) -> None:
    built = subject("llama")
    forward, said = built.model.forward, iter(range(100))

    def talkative(*args, **inputs):
        log = logging.getLogger("transformers.models.tiny")
        log.warning("A decoder-only architecture is being used, but right-padding was detected!")
        log.warning("Something nobody knows, number %d.", next(said))
        log.warning("Setting `pad_token_id` to `eos_token_id`:1 for open-end generation.")
        return forward(*args, **inputs)

    monkeypatch.setattr(built.model, "forward", talkative)
    found = cautions(built, "choice", limit=1)
    count = next(said)
    assert found == {
        "padding on the wrong side": ("changes the number", count),
        "message of a library": ("advice", count),
    }
    assert count


def test_python_warnings_of_libraries_are_heard_and_others_are_shown() -> None:
    with warnings.catch_warnings(record=True) as shown, listening() as heard:
        for number in range(2):
            text = f"document {number} is odd"
            warnings.warn_explicit(text, UserWarning, "/x/datasets/y.py", 1, module="datasets.y")
        warnings.warn_explicit("old", DeprecationWarning, "/x/datasets/y.py", 1)
        warnings.warn("mine", stacklevel=1)
    assert heard.said == {("datasets", "document 0 is odd"): 2}
    assert [str(warning.message) for warning in shown] == ["mine"]


def test_many_messages_are_few_lines() -> None:
    heard = Heard()
    for letter in "abcdefgh":
        heard.hear("transformers", letter * 300)
    found = list(classes.cautions(heard))
    assert len(found) == classes.MOST + 1
    assert max(len(caution.text) for caution in found) < 230
    assert sum(caution.count for caution in found) == 8


def test_an_answer_longer_than_the_model_sees_is_a_usage_error(subject, folder) -> None:
    row = {"question": "x", "choices": ["a", "the cat " * 200], "answer": 0}
    write_lines(folder / "endless.jsonl", [row])
    text = (folder / "choice.yaml").read_text().replace("questions.jsonl", "endless.jsonl")
    (folder / "endless.yaml").write_text(text)
    prepared = plugin.prepare(str(folder / "endless.yaml"), None, LmEvalConfig())
    with pytest.raises(UsageError, match="longer than the 128 that the model sees"):
        prepared.evaluate(subject("llama"), Conditions())


def test_counting_changes_no_number(subject, folder) -> None:
    model = subject("llama")
    prepared = plugin.prepare(str(folder / "choice.yaml"), None, LmEvalConfig(num_fewshot=8))
    found = prepared.evaluate(model, Conditions(batch_size=4))
    expected = directly(model, folder, "choice", num_fewshot=8)["results"]["choice"]
    assert found.metrics[0].value == expected["acc,none"]
    assert torch.is_grad_enabled()
