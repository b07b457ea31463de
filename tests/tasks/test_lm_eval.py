"""The lm-eval adapter on local task files, offline."""

from __future__ import annotations

import ast
import copy
import dataclasses
import hashlib
import json
import math
import random
import sys
from pathlib import Path

import pytest
import torch
import yaml
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from torch import nn

from harness.errors import AssetError, NonFiniteError, UsageError
from harness.evaluation.task import Conditions, Task
from harness.plugins.options import spelled_out
from tasks import lm_eval as package
from tasks.lm_eval import loading, plugin, task
from tasks.lm_eval.task import LmEvalConfig
from tests.tasks.sentences import sentence

DOCUMENTS = 12

CHOICE = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/{data}, train: {folder}/train.jsonl}}}}
test_split: test
fewshot_split: train
output_type: multiple_choice
doc_to_text: "Question: {{{{question}}}}\\nAnswer:"
doc_to_choice: choices
doc_to_target: answer
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
  - {{metric: acc_norm, aggregation: mean, higher_is_better: true}}
metadata: {{version: 1.0}}
"""

ROLLING = """
task: pages
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/pages.jsonl}}}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{{{page}}}}"
process_results: !function scoring.score
metric_list:
  - {{metric: word_perplexity, aggregation: weighted_perplexity, higher_is_better: false}}
"""

SCORING = """
def score(doc, results):
    return {"word_perplexity": (results[0], len(doc["page"].split()))}
"""

GENERATION = """
task: answers
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/questions.jsonl}}}}
test_split: test
output_type: generate_until
doc_to_text: "Question: {{{{question}}}}\\nAnswer:"
doc_to_target: "{{{{choices[answer]}}}}"
generation_kwargs: {{until: ["\\n"], max_gen_toks: 4, do_sample: false}}
metric_list:
  - {{metric: exact_match, aggregation: mean, higher_is_better: true}}
filter_list:
  - name: first-word
    filter: [{{function: regex, regex_pattern: "(\\\\w+)"}}, {{function: take_first}}]
  - name: whole
    filter: [{{function: take_first}}]
"""

LAST_WORD = """
task: last-word
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/questions.jsonl}}}}
test_split: test
output_type: loglikelihood
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{choices[answer]}}}}"
metric_list:
  - {{metric: perplexity, aggregation: perplexity, higher_is_better: false}}
"""

SHUFFLING = """
import random

def shuffled(documents):
    order = list(range(len(documents)))
    random.shuffle(order)
    return documents.select(order)
"""

GROUP = """
group: both
task: [choice, other-choice]
aggregate_metric_list:
  - {metric: acc, aggregation: mean, weight_by_size: true}
"""


def questions(seed: int, count: int) -> list[dict[str, object]]:
    draw = random.Random(seed)
    return [
        {
            "question": f"Which word comes after {sentence(draw.random(), 3)}?",
            "choices": sentence(draw.random(), 4).split(),
            "answer": draw.randrange(4),
        }
        for _ in range(count)
    ]


def write_lines(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lm_eval_tasks")
    write_lines(path / "questions.jsonl", questions(1, DOCUMENTS))
    write_lines(path / "few.jsonl", questions(2, 3))
    write_lines(path / "train.jsonl", questions(3, 8))
    write_lines(path / "pages.jsonl", [{"page": sentence(i, 40 + 40 * i)} for i in range(5)])
    (path / "scoring.py").write_text(SCORING)
    (path / "shuffling.py").write_text(SHUFFLING)
    choice = CHOICE.format(name="choice", data="questions.jsonl", folder=path)
    for name, text in {
        "choice": choice,
        "first": choice + "fewshot_config: {sampler: first_n}\n",
        "shuffled": choice + "process_docs: !function shuffling.shuffled\n",
        "other-choice": CHOICE.format(name="other-choice", data="few.jsonl", folder=path),
        "missing": CHOICE.format(name="missing", data="nowhere.jsonl", folder=path),
        "pages": ROLLING.format(folder=path),
        "answers": GENERATION.format(folder=path),
        "last-word": LAST_WORD.format(folder=path),
        "both": GROUP,
    }.items():
        (path / f"{name}.yaml").write_text(text)
    return path


@pytest.fixture
def measure(folder: Path):
    def run(subject, task: str, conditions: Conditions | None = None, **options: int):
        prepared = plugin.prepare(str(folder / f"{task}.yaml"), None, LmEvalConfig(**options))
        return prepared.evaluate(subject, conditions or Conditions(batch_size=4))

    return run


def directly(subject, folder: Path, task: str, **options):
    return simple_evaluate(
        model=HFLM(
            pretrained=subject.model,
            tokenizer=subject.tokenizer,
            batch_size=4,
            softmax_dtype="float32",
        ),
        tasks=[task],
        task_manager=TaskManager(include_path=folder, include_defaults=False),
        **options,
    )


def test_is_a_task() -> None:
    assert isinstance(plugin, Task)


def test_listing_it_does_not_import_the_library() -> None:
    for module in (package, task):
        statements = ast.parse(Path(module.__file__).read_text()).body
        imported = {item.module for item in statements if isinstance(item, ast.ImportFrom)}
        assert imported <= {
            "__future__",
            "dataclasses",
            "functools",
            "pathlib",
            "typing",
            "tasks.lm_eval.task",
            "harness.errors",
            "harness.models.language_model",
            "harness.records.record",
            "harness.records.results",
            "harness.evaluation.task",
            "harness.plugin",
            "harness.plugins.options",
            "harness.plugins.ranges",
            "pydantic",
        }
        assert not any(isinstance(item, ast.Import) for item in statements)


@pytest.mark.parametrize("shots", [0, 2])
def test_choices_equal_those_of_simple_evaluate(subject, measure, folder, shots) -> None:
    model = subject("llama")
    found = measure(model, "choice", num_fewshot=shots)
    expected = directly(model, folder, "choice", num_fewshot=shots)["results"]["choice"]
    assert [metric.name for metric in found.metrics] == [
        f"acc ({shots}-shot)",
        f"acc_norm ({shots}-shot)",
    ]
    for metric, key in zip(found.metrics, ("acc", "acc_norm"), strict=True):
        assert metric.value == expected[f"{key},none"]
        assert metric.stderr == expected[f"{key}_stderr,none"]
        assert metric.n == DOCUMENTS
        assert metric.higher_is_better


def test_accuracy_and_its_error_follow_from_the_samples(subject, measure) -> None:
    found = measure(subject("llama"), "choice")
    values = torch.tensor([sample.values["acc"] for sample in found.samples], dtype=torch.float64)
    assert [sample.id for sample in found.samples] == [f"choice/{i}" for i in range(DOCUMENTS)]
    assert 0 < found.metrics[0].value < 1
    assert found.metrics[0].value == pytest.approx(values.mean().item())
    assert found.metrics[0].stderr == pytest.approx(values.std().item() / math.sqrt(DOCUMENTS))


def test_word_perplexity_equals_that_of_simple_evaluate(subject, measure, folder) -> None:
    model = subject("opt")
    (metric,) = (found := measure(model, "pages")).metrics
    expected = directly(model, folder, "pages")["results"]["pages"]
    assert metric.name == "word_perplexity"
    assert metric.value == expected["word_perplexity,none"]
    assert metric.stderr is None
    assert not metric.higher_is_better
    likelihood = sum(row.values["word_perplexity.loglikelihood"] for row in found.samples)
    words = sum(row.values["word_perplexity.weight"] for row in found.samples)
    assert metric.value == pytest.approx(math.exp(-likelihood / words))
    assert metric.n == len(found.samples) == 5


def test_every_filter_of_a_generation_is_a_metric(subject, measure, folder) -> None:
    model = subject("llama")
    found = measure(model, "answers")
    expected = directly(model, folder, "answers")["results"]["answers"]
    assert {metric.name: metric.value for metric in found.metrics} == {
        f"exact_match,{kept} (0-shot)": expected[f"exact_match,{kept}"]
        for kept in ("first-word", "whole")
    }
    assert len(found.samples) == found.metrics[0].n == DOCUMENTS
    assert set(found.samples[0].values) == {"exact_match,first-word", "exact_match,whole"}


def test_what_the_model_says_stands_in_the_samples(subject, measure, folder) -> None:
    model = subject("llama")
    found = measure(model, "answers")
    rows = directly(model, folder, "answers")["samples"]["answers"][:DOCUMENTS]
    assert [sample.answer for sample in found.samples] == [row["resps"][0][0] for row in rows]
    assert len({sample.answer for sample in found.samples}) > 1
    assert {sample.answer for sample in measure(model, "choice").samples} == {None}


def test_bootstrapped_error(subject, measure, folder) -> None:
    model = subject("opt")
    (metric,) = measure(model, "last-word", bootstrap_iters=200).metrics
    expected = directly(model, folder, "last-word", bootstrap_iters=200)["results"]["last-word"]
    assert metric.stderr == expected["perplexity_stderr,none"] > 0
    (metric,) = measure(model, "last-word", bootstrap_iters=0).metrics
    assert metric.stderr is None


def test_group_comes_before_its_parts(subject, measure) -> None:
    found = measure(subject("llama"), "both")
    assert [metric.name for metric in found.metrics] == [
        "acc (0-shot)",
        "choice: acc (0-shot)",
        "choice: acc_norm (0-shot)",
        "other-choice: acc (0-shot)",
        "other-choice: acc_norm (0-shot)",
    ]
    whole, first, _, second, _ = found.metrics
    assert (whole.n, first.n, second.n) == (DOCUMENTS + 3, DOCUMENTS, 3)
    assert whole.value == pytest.approx((first.value * first.n + second.value * second.n) / whole.n)
    assert len(found.samples) == whole.n


def test_same_twice_from_one_preparation(subject, folder) -> None:
    prepared = plugin.prepare(str(folder / "choice.yaml"), None, LmEvalConfig(num_fewshot=2))
    model, conditions = subject("opt"), Conditions(batch_size=4)
    assert prepared.evaluate(model, conditions) == prepared.evaluate(model, conditions)


def test_a_seed_of_its_own_draws_the_examples(subject, measure, monkeypatch) -> None:
    model, prompts = subject("opt"), []
    forward = model.model.forward

    def remember(input_ids, **inputs):
        prompts.append(input_ids.sum().item())
        return forward(input_ids=input_ids, **inputs)

    monkeypatch.setattr(model.model, "forward", remember)
    seen = []
    for seed, fewshot_seed in ((0, 1234), (1, 1234), (0, 1)):
        prompts.clear()
        conditions = Conditions(batch_size=4, seed=seed)
        measure(model, "choice", conditions, num_fewshot=2, fewshot_seed=fewshot_seed)
        seen.append(tuple(prompts))
    assert seen[0] == seen[1] != seen[2]


def test_fewshot_seed_is_part_of_the_identity_where_examples_are_drawn(folder) -> None:
    def fingerprint(task: str, **options: int) -> str:
        return plugin.prepare(
            str(folder / f"{task}.yaml"), None, LmEvalConfig(**options)
        ).data.fingerprint

    assert fingerprint("choice", fewshot_seed=7) == fingerprint("choice")
    shots = fingerprint("choice", num_fewshot=2)
    assert fingerprint("choice", num_fewshot=2, fewshot_seed=7) != shots
    first = (fingerprint("first", num_fewshot=2, fewshot_seed=seed) for seed in (7, 1234))
    assert len(set(first)) == 1


def test_zero_shots_keep_the_identity_they_had_before_there_was_a_seed(folder, tmp_path) -> None:
    task = yaml.safe_load((folder / "choice.yaml").read_text())
    rows = [json.loads(line) for line in (folder / "questions.jsonl").read_text().splitlines()]
    prepared = plugin.prepare(str(folder / "choice.yaml"), None, LmEvalConfig())
    (loaded,) = prepared.loaded["tasks"].values()
    config = loaded.dump_config()
    expected = {
        "version": task["metadata"]["version"],
        "config": {key: config[key] for key in config if key not in ("dataset_kwargs", "metadata")},
        "documents": rows,
        "examples": [],
    }
    text = json.dumps(expected, sort_keys=True, default=str)
    assert prepared.data.fingerprint == hashlib.sha256(text.encode()).hexdigest()
    assert spelled_out(LmEvalConfig(), "choice") == {"num_fewshot": None, "bootstrap_iters": 1000}
    assert spelled_out(LmEvalConfig(fewshot_seed=7), "choice")["fewshot_seed"] == 7


def test_documents_that_shuffle_themselves_are_the_same_each_time(folder, subject) -> None:
    seen = set()
    for state in (1, 2):
        random.seed(state)
        prepared = plugin.prepare(str(folder / "shuffled.yaml"), None, LmEvalConfig())
        random.seed(state + 2)
        samples = prepared.evaluate(subject("opt"), Conditions(batch_size=4)).samples
        seen.add((prepared.data.fingerprint, tuple(row.values["acc"] for row in samples)))
    assert len(seen) == 1


def test_answers_drawn_at_random_follow_the_seed(folder, subject) -> None:
    text = (folder / "answers.yaml").read_text()
    path = folder / "drawn.yaml"
    path.write_text(text.replace("do_sample: false", "do_sample: true, temperature: 2.0"))
    prepared = plugin.prepare(str(path), None, LmEvalConfig())
    greedy = plugin.prepare(str(folder / "answers.yaml"), None, LmEvalConfig())
    assert prepared.data.fingerprint != greedy.data.fingerprint
    model = subject("llama")
    zero, again, one = (
        [row.answer for row in prepared.evaluate(model, Conditions(4, seed=seed)).samples]
        for seed in (0, 0, 1)
    )
    assert zero == again != one


def test_limit_keeps_the_first_documents(subject, measure) -> None:
    model = subject("llama")
    whole = measure(model, "choice")
    limited = measure(model, "choice", Conditions(batch_size=4, limit=3))
    assert limited.metrics[0].n == 3
    assert limited.samples == whole.samples[:3]


@pytest.mark.parametrize("task", ["choice", "pages", "answers"])
def test_batch_size_does_not_matter(subject, measure, task) -> None:
    one, eight = (measure(subject("llama"), task, Conditions(batch_size=size)) for size in (1, 8))
    for left, right in zip(one.metrics, eight.metrics, strict=True):
        assert left.value == pytest.approx(right.value, rel=1e-5)


def test_batch_shrinks_until_it_fits(subject, measure, out_of_memory_above) -> None:
    model = subject("llama")
    expected = measure(model, "choice", Conditions(batch_size=2))
    seen = out_of_memory_above(model.model, 2)
    found = measure(model, "choice", Conditions(batch_size=8))
    assert found == expected
    assert found.batch_size == 2
    assert max(seen) == 8


class LowRank(nn.Module):
    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.down = nn.Linear(linear.in_features, 8, bias=False)
        self.up = nn.Linear(8, linear.out_features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.up(self.down(x))


@pytest.mark.parametrize("task", ["choice", "pages", "answers"])
def test_replaced_layers_work(subject, measure, task) -> None:
    model = subject("opt")
    for block in model.model.model.decoder.layers:
        block.fc1, block.self_attn.q_proj = LowRank(block.fc1), LowRank(block.self_attn.q_proj)
    assert all(math.isfinite(metric.value) for metric in measure(model, task).metrics)


@pytest.mark.parametrize("untied", [False, True])
def test_model_and_tokenizer_are_left_as_they_were(subject, measure, untied) -> None:
    built = subject("opt")
    model, tokenizer = built.model, copy.deepcopy(built.tokenizer)
    assert model.config.tie_word_embeddings
    if untied:
        model.lm_head.weight = nn.Parameter(3 * model.lm_head.weight.detach())
    tokenizer.pad_token = None
    ids = torch.arange(3, 40)[None]
    before = model(ids).logits
    measure(dataclasses.replace(built, tokenizer=tokenizer), "choice")
    assert torch.equal(model(ids).logits, before)
    assert (model.lm_head.weight is model.get_input_embeddings().weight) != untied
    assert tokenizer.pad_token is None
    assert not model._forward_hooks
    assert "tie_weights" not in vars(model)


@pytest.mark.parametrize("task", ["choice", "pages", "answers"])
def test_broken_model_is_an_error(subject, measure, task) -> None:
    model = subject("llama")
    model.model.lm_head.weight.data[7] = math.nan
    with pytest.raises(NonFiniteError):
        measure(model, task)


def test_infinite_likelihood_is_named_with_its_document(subject, measure) -> None:
    model = subject("llama")
    model.model.lm_head.register_forward_hook(
        lambda _module, _inputs, scores: torch.where(
            torch.arange(scores.shape[-1]) < 20, scores, -math.inf
        )
    )
    with pytest.raises(NonFiniteError, match=r"'pages'.*document 0"):
        measure(model, "pages")


def test_nothing_is_written_to_the_terminal(subject, measure, capfd) -> None:
    measure(subject("opt"), "last-word")
    assert capfd.readouterr() == ("", "")


def test_standard_output_stays_free_when_progress_is_shown(subject, measure, capfd) -> None:
    def shown(items, description, total):
        return iter(items)

    measure(subject("opt"), "last-word", Conditions(batch_size=4, track=shown))
    out, err = capfd.readouterr()
    assert out == ""
    assert "loglikelihood requests" in err


def test_fingerprint_follows_prompt_and_documents(folder, tmp_path) -> None:
    def fingerprint(text: str, **options: int) -> str:
        path = tmp_path / "task.yaml"
        path.write_text(text)
        return plugin.prepare(str(path), None, LmEvalConfig(**options)).data.fingerprint

    text = (folder / "choice.yaml").read_text()
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes((folder / "questions.jsonl").read_bytes())
    own = fingerprint(text)
    assert fingerprint(text.replace(f"{folder}/questions.jsonl", str(copy))) == own
    assert fingerprint(text.replace("Question", "Query")) != own
    assert fingerprint(text.replace("questions.jsonl", "few.jsonl")) != own
    assert fingerprint(text, num_fewshot=1) != own


def test_unknown_name_suggests_near_ones(monkeypatch, folder) -> None:
    index = TaskManager(include_path=folder, include_defaults=False)
    monkeypatch.setattr(loading, "_whole_index", lambda: index)
    with pytest.raises(UsageError, match="unknown lm-eval task 'chioce'; did you mean choice"):
        plugin.prepare("chioce", None, LmEvalConfig())
    with pytest.raises(UsageError, match="lm-eval ls tasks"):
        plugin.prepare("qqqqqqqq", None, LmEvalConfig())


@pytest.mark.parametrize("name", ["wikitext", "arc_easy", "boolq", "mmlu_anatomy"])
def test_single_tasks_are_found_without_the_index(name) -> None:
    with pytest.raises(AssetError, match=rf"lm-eval task '{name}'.*'harness fetch' gets it"):
        plugin.prepare(name, None, LmEvalConfig())


def test_missing_data_is_named(folder) -> None:
    with pytest.raises(AssetError, match=r"data set json .*'missing' cannot.*nowhere\.jsonl"):
        plugin.prepare(str(folder / "missing.yaml"), None, LmEvalConfig())


def test_unreadable_documents_are_named(folder, tmp_path) -> None:
    text = (folder / "pages.yaml").read_text().replace("test_split: test", "test_split: other")
    (tmp_path / "scoring.py").write_text(SCORING)
    (tmp_path / "task.yaml").write_text(text)
    with pytest.raises((AssetError, UsageError), match=r"lm-eval task .*KeyError: 'other'"):
        plugin.prepare(str(tmp_path / "task.yaml"), None, LmEvalConfig())


def own_scoring(folder: Path, tmp_path: Path, scoring: str, **changes: str) -> str:
    """The task ``pages`` with a scoring of its own."""
    text = (folder / "pages.yaml").read_text()
    for old, new in changes.items():
        text = text.replace(old, new)
    (tmp_path / "scoring.py").write_text(scoring)
    (tmp_path / "pages.yaml").write_text(text)
    return str(tmp_path / "pages.yaml")


def test_failing_score_names_the_answer(subject, folder, tmp_path) -> None:
    name = own_scoring(folder, tmp_path, SCORING.replace('doc["page"]', 'doc["absent"]'))
    prepared = plugin.prepare(name, None, LmEvalConfig())
    with pytest.raises(UsageError, match=r"'pages' cannot score the answer \[-.*KeyError: 'absent"):
        prepared.evaluate(subject("opt"), Conditions())


def test_failing_aggregate_is_a_usage_error(subject, folder, tmp_path) -> None:
    name = own_scoring(folder, tmp_path, SCORING.replace("len(doc", "str(doc"))
    prepared = plugin.prepare(name, None, LmEvalConfig())
    with pytest.raises(UsageError, match="lm-eval task 'pages' does not run: TypeError"):
        prepared.evaluate(subject("opt"), Conditions())


def test_a_function_that_is_not_there(folder, tmp_path) -> None:
    name = own_scoring(folder, tmp_path, "", **{"scoring.score": "scoring.missing"})
    with pytest.raises(UsageError, match=r"pages\.yaml' does not load: AttributeError.*missing"):
        plugin.prepare(name, None, LmEvalConfig())


def test_functions_beside_a_relative_path_take_no_other_modules_place(
    folder, tmp_path, monkeypatch
) -> None:
    name = own_scoring(folder, tmp_path, SCORING)
    whole = plugin.prepare(name, None, LmEvalConfig()).data
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "scoring", raising=False)
    relative = plugin.prepare("pages.yaml", None, LmEvalConfig()).data
    assert relative.fingerprint == whole.fingerprint
    assert "scoring" not in sys.modules


def test_a_share_of_the_documents_is_no_limit(subject, measure) -> None:
    with pytest.raises(UsageError, match=r"limit 0\.5 is no number of documents"):
        measure(subject("llama"), "choice", Conditions(limit=0.5))


@pytest.mark.parametrize(
    "text", ["task: [", "colour: red", "task: x\ncolour: red", "group: g\ntask: [nothing]"]
)
def test_unusable_file_is_a_usage_error(tmp_path, text) -> None:
    (tmp_path / "task.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"task\.yaml' does not load"):
        plugin.prepare(str(tmp_path / "task.yaml"), None, LmEvalConfig())


def test_absent_file_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"no task file 'absent\.yml'"):
        plugin.prepare("absent.yml", None, LmEvalConfig())


def test_own_data_goes_into_a_task_file(folder) -> None:
    with pytest.raises(UsageError, match="YAML file"):
        plugin.prepare(str(folder / "choice.yaml"), "data.jsonl", LmEvalConfig())


@pytest.mark.parametrize("options", [{"num_fewshot": -1}, {"bootstrap_iters": -1}])
def test_negative_counts_are_usage_errors(options) -> None:
    with pytest.raises(UsageError, match="0 to 10"):
        LmEvalConfig(**options)
