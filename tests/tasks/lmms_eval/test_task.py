"""The lmms-eval adapter on local task files, offline."""

from __future__ import annotations

import copy
import io
import math
import os
import statistics
import time
import warnings
from pathlib import Path

import datasets
import pytest
import torch
from PIL import ImageFile

from harness.errors import AssetError, NonFiniteError, UsageError
from harness.evaluation.task import Conditions, Task, find_task
from harness.models.generation import Written
from tasks.lmms_eval import plugin
from tasks.lmms_eval.isolation import contained
from tasks.lmms_eval.settings import settings_of
from tasks.lmms_eval.task import LmmsEvalConfig
from tests.helpers.tiny_models import random_model, wrap
from tests.helpers.tiny_vision_models import noise, tiny_vision_model
from tests.tasks.lmms_eval.files import reading_rows, reading_task, save, stock

pytest.importorskip("lmms_eval")
pytestmark = pytest.mark.extras

TASK = """
task: {name}
dataset_path: parquet
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: generate_until
doc_to_visual: !function own.show
doc_to_text: !function own.ask
doc_to_target: "x"
process_results: !function own.score
generation_kwargs: {{max_new_tokens: 4}}
metric_list:
  - {{metric: second, aggregation: !function own.mean_score, higher_is_better: false}}
  - {{metric: first, aggregation: mean, higher_is_better: true}}
  - {{metric: file, aggregation: !function own.aggregate, higher_is_better: true}}
"""
OWN = """
from PIL import Image

def show(doc):
    return doc["images"]

def ask(doc):
    return doc["question"]

def score(doc, results):
    return {"first": len(results[0]), "second": {"score": doc["number"]}, "file": results[0],
            "undeclared": 1.0}

def mean_score(items):
    return sum(item["score"] for item in items) / len(items)

def aggregate(items):
    return "/somewhere"

def fail(doc, results):
    raise KeyError("grade")

def by_name(doc):
    return [Image.open(doc["file"])]

def film(doc):
    return ["film.mp4"]
"""


def rows() -> list[dict[str, object]]:
    """Questions with two images in an order that matters, with none and with one."""
    shown = [[noise(0), noise(1)], [], [noise(2)], [], [noise(1), noise(0)], [noise(3, 64, 32)]]
    questions = ["the cat", "a dog ran over the river and the house", "the cat", "x", "the cat", ""]
    return [
        {"images": images, "question": question, "number": number}
        for number, (images, question) in enumerate(zip(shown, questions, strict=True))
    ]


def write(folder: Path, name: str = "own", data: str = "own.parquet", **changes: str) -> str:
    text = TASK.format(name=name, data=data)
    for old, new in changes.items():
        line = next(line for line in text.splitlines() if line.startswith(f"{old}:"))
        text = text.replace(line, f"{old}: {new}" if new else "")
    (folder / f"{name}.yaml").write_text(text)
    return f"lmms-eval:{folder / name}.yaml"


def save_images(content: list[dict[str, object]], path: Path) -> None:
    features = datasets.Features(
        images=datasets.List(datasets.Image()),
        question=datasets.Value("string"),
        number=datasets.Value("int64"),
    )
    datasets.Dataset.from_list(content, features=features).to_parquet(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_images(rows(), tmp_path / "own.parquet")
    (tmp_path / "own.py").write_text(OWN)
    return tmp_path


@pytest.fixture
def subject(one_thread):
    return tiny_vision_model("llava", torch.float32)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch) -> None:
    def sleep(seconds: float) -> None:
        pytest.fail(f"waits {seconds} s")

    monkeypatch.setattr(time, "sleep", sleep)


def prepare(name: str, **options: int):
    return plugin.prepare(name, None, LmmsEvalConfig(**options))


def measure(name: str, subject, conditions: Conditions | None = None, **options: int):
    return prepare(name, **options).evaluate(subject, conditions or Conditions())


def test_plugin_follows_the_seam() -> None:
    assert isinstance(plugin, Task)
    assert find_task("lmms-eval:scienceqa") is plugin


@pytest.mark.parametrize("name", ["llava", "llava_next", "qwen2_vl", "qwen2_5_vl"])
def test_answers_do_not_depend_on_the_batch(folder, name) -> None:
    subject = tiny_vision_model(name, torch.float32)
    prepared = prepare(write(folder))
    one, *larger = (
        [
            sample.answer
            for sample in prepared.evaluate(subject, Conditions(batch_size=size)).samples
        ]
        for size in (1, 4, 8)
    )
    assert larger == [one, one]
    assert len(set(one)) > 3


def test_every_question_is_shown_its_own_images_in_order(folder, subject, monkeypatch) -> None:
    with contained():
        from tasks.lmms_eval import adapter
    prepared = prepare(write(folder))

    asked = []

    def answer(subject, prompts, *rest, **options):
        asked.extend(prompts)
        return [Written("", ended=True)] * len(prompts)

    monkeypatch.setattr(adapter, "write", answer)
    prepared.evaluate(subject, Conditions(batch_size=4))
    assert [prompt.text for prompt in asked] == [row["question"] for row in rows()]
    for prompt, row in zip(asked, rows(), strict=True):
        shown = [image.tobytes() for image in prompt.images]
        assert shown == [image.tobytes() for image in row["images"]]


def test_metrics_and_samples(folder, subject) -> None:
    result = measure(write(folder), subject)
    second, first = result.metrics
    assert (second.name, first.name) == ("second (0-shot)", "first (0-shot)")
    assert (second.higher_is_better, first.higher_is_better) == (False, True)
    assert {metric.n for metric in result.metrics} == {6}
    assert [sample.id for sample in result.samples] == [f"own/{number}" for number in range(6)]
    lengths = [len(sample.answer) for sample in result.samples]
    assert [sample.values["first"] for sample in result.samples] == lengths
    assert [sample.values["second"] for sample in result.samples] == list(range(6))
    assert first.value == pytest.approx(statistics.fmean(lengths))
    assert first.stderr == pytest.approx(statistics.stdev(lengths) / math.sqrt(6))
    assert result.batch_size == 8


def test_limit_keeps_the_first_documents(folder, subject) -> None:
    prepared = prepare(write(folder))
    whole = prepared.evaluate(subject, Conditions())
    part = prepared.evaluate(subject, Conditions(limit=2))
    assert part.samples == whole.samples[:2]
    assert {metric.n for metric in part.metrics} == {2}
    with pytest.raises(UsageError, match=r"limit 0\.5 is no number of documents"):
        prepared.evaluate(subject, Conditions(limit=0.5))


def test_each_model_is_asked_anew(folder, subject) -> None:
    prepared = prepare(write(folder))
    first = prepared.evaluate(subject, Conditions())
    other = prepared.evaluate(tiny_vision_model("llava", torch.float32, seed=1), Conditions())
    assert [s.answer for s in first.samples] != [s.answer for s in other.samples]
    assert prepared.evaluate(subject, Conditions()) == first


def test_model_is_left_as_it_was(folder, subject) -> None:
    model = subject.model
    names = [name for name, _ in model.named_modules()]
    settings = copy.deepcopy(model.generation_config)
    padding = subject.tokenizer.padding_side
    measure(write(folder), subject)
    assert [name for name, _ in model.named_modules()] == names
    assert model.generation_config == settings
    assert subject.tokenizer.padding_side == padding


def test_settings_of_the_model_itself_do_not_count(folder, subject) -> None:
    prepared = prepare(write(folder, generation_kwargs="{max_new_tokens: 12}"))
    plain = prepared.evaluate(subject, Conditions())
    subject.model.generation_config.repetition_penalty = 50.0
    subject.model.generation_config.no_repeat_ngram_size = 1
    subject.model.generation_config.max_length = 1
    assert prepared.evaluate(subject, Conditions()) == plain


def test_the_process_is_left_as_it_was(folder, subject, capfd) -> None:
    import ssl

    import filelock
    from loguru import logger
    from torch.distributed import distributed_c10d

    heard: list[str] = []
    sink = logger.add(heard.append, format="{message}")
    locking = type(filelock.FileLock).__call__
    filters, timeout = list(warnings.filters), distributed_c10d.default_pg_timeout
    measure(write(folder), subject)
    logger.warning("still here")
    logger.remove(sink)
    assert heard == ["still here\n"]
    assert list(warnings.filters) == filters
    assert distributed_c10d.default_pg_timeout == timeout
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
    assert not hasattr(ssl.SSLContext, "_orig_reduce")
    assert type(filelock.FileLock).__call__ is locking
    out, err = capfd.readouterr()
    assert out == ""
    assert err.replace("still here", "").count("\n") <= 1


def test_progress_is_ours(folder, subject, capfd) -> None:
    seen = []

    def shown(items, description, total):
        seen.append((description, total))
        return iter(items)

    capfd.readouterr()
    measure(write(folder), subject, Conditions(batch_size=4, track=shown))
    assert seen == [("answers", 2)]
    assert capfd.readouterr() == ("", "")


def test_out_of_memory_halves_the_batch(folder, subject, monkeypatch) -> None:
    generate = subject.model.generate

    def limited(input_ids, **rest):
        if len(input_ids) > 3:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")
        return generate(input_ids=input_ids, **rest)

    monkeypatch.setattr(subject.model, "generate", limited)
    prepared = prepare(write(folder))
    assert prepared.evaluate(subject, Conditions(batch_size=8)).batch_size == 2


def test_nan_is_an_error(folder, subject) -> None:
    subject.model.lm_head.weight.data[7] = math.nan
    with pytest.raises(NonFiniteError):
        measure(write(folder), subject)


def test_a_model_without_sight_is_an_error(folder, tokenizer) -> None:
    with pytest.raises(UsageError, match="reads text only"):
        measure(write(folder), wrap(random_model("llama", torch.float32), tokenizer))


def test_open_limit_stands_in_the_name(folder, subject) -> None:
    name = write(folder, generation_kwargs="")
    short, long = measure(name, subject, max_new_tokens=2), measure(name, subject)
    assert short.metrics[0].name == "second (0-shot, max_new_tokens=2)"
    assert long.metrics[0].name == "second (0-shot, max_new_tokens=128)"
    for brief, full in zip(short.samples, long.samples, strict=True):
        assert full.answer.startswith(brief.answer[:1])


def test_answers_end_where_the_task_says(folder, subject, monkeypatch) -> None:
    monkeypatch.setattr(
        type(subject.processor), "batch_decode", lambda self, ids, **_: [" a\n\nb END c"] * len(ids)
    )
    free = measure(write(folder, name="free"), subject)
    assert {sample.answer for sample in free.samples} == {"a\n\nb END c"}
    ended = write(folder, name="ended", generation_kwargs='{until: [END, ""], max_new_tokens: 4}')
    assert {sample.answer for sample in measure(ended, subject).samples} == {"a\n\nb"}


def test_beams_and_drawn_answers(folder, subject) -> None:
    def answers(kwargs: str, **conditions: int) -> list[str | None]:
        name = write(folder, generation_kwargs=kwargs)
        return [s.answer for s in measure(name, subject, Conditions(**conditions)).samples]

    greedy = answers("{max_new_tokens: 4, do_sample: false, temperature: 0.7}")
    assert greedy == answers("{max_new_tokens: 4, do_sample: true, temperature: 0}")
    assert greedy == answers("{max_new_tokens: 4, num_beams: 1, top_p: 1.0}")
    assert greedy != answers("{max_new_tokens: 4, num_beams: 3}")
    drawn = "{max_new_tokens: 4, do_sample: true, temperature: 5.0}"
    assert answers(drawn, batch_size=1) == answers(drawn, batch_size=8) != greedy
    assert answers(drawn, seed=1) != answers(drawn)


class Configured:
    task_name = "task"

    def __init__(self, **generation_kwargs: object) -> None:
        self.config = {"generation_kwargs": generation_kwargs, "fewshot_delimiter": "\n\n"}

    def get_config(self, key: str) -> object:
        return self.config[key]


def test_settings() -> None:
    filled = settings_of(Configured(until=["\n\n"], do_sample=False), 9)
    assert (filled.max_new_tokens, filled.limit_is_ours, filled.stop) == (9, True, ())
    given = settings_of(Configured(until="Q:", max_new_tokens=3, image_aspect_ratio="pad"), 9)
    assert (given.max_new_tokens, given.limit_is_ours, given.stop) == (3, False, ("Q:",))
    drawn = settings_of(Configured(temperature=0.2, top_p=None), 9)
    assert drawn.options == {"do_sample": True, "temperature": 0.2}
    with pytest.raises(UsageError, match="generation with seed"):
        settings_of(Configured(seed=0), 9)


def test_places_of_images_are_not_read_as_images(folder, subject) -> None:
    content = [row | {"question": f"<image> {row['question']}"} for row in rows()]
    save_images(content, folder / "marked.parquet")
    marked = measure(write(folder, data="marked.parquet", name="marked"), subject)
    content = [row | {"question": f" {row['question']}"} for row in rows()]
    save_images(content, folder / "plain.parquet")
    plain = measure(write(folder, data="plain.parquet", name="plain"), subject)
    assert [s.answer for s in marked.samples] == [s.answer for s in plain.samples]


def test_failing_score_names_the_answer_at_once(folder, subject) -> None:
    name = write(folder, process_results="!function own.fail")
    with pytest.raises(UsageError, match=r"'own' cannot score the answer \['.*KeyError: 'grade'"):
        measure(name, subject)


def test_failing_aggregate_is_a_usage_error(folder, subject) -> None:
    name = write(folder)
    path = folder / "own.yaml"
    path.write_text(path.read_text().replace("own.mean_score", "own.by_name"))
    with pytest.raises(UsageError, match="'own' does not run: TypeError"):
        measure(name, subject)


def test_filters_are_told_apart(folder, subject) -> None:
    name = write(folder)
    with (folder / "own.yaml").open("a") as file:
        file.write(
            "filter_list:\n"
            "  - {name: none, filter: [{function: take_first}]}\n"
            '  - {name: short, filter: [{function: regex, regex_pattern: "^(.)"}, '
            "{function: take_first}]}\n"
        )
    result = measure(name, subject)
    names = [metric.name.removesuffix(" (0-shot)") for metric in result.metrics]
    assert names == ["second", "second,short", "first", "first,short"]
    assert {metric.n for metric in result.metrics} == {6}
    for sample in result.samples:
        assert sample.values["first"] == len(sample.answer)
        assert sample.values["first,short"] in (1, len("[invalid]"))


def test_groups_come_first(folder, subject) -> None:
    write(folder, name="one")
    save_images(rows()[:2], folder / "two.parquet")
    write(folder, name="two", data="two.parquet")
    (folder / "both.yaml").write_text(
        "group: both\ntask: [one, two]\naggregate_metric_list:\n"
        "  - {metric: first, aggregation: mean, weight_by_size: true}\n"
    )
    result = measure(f"lmms-eval:{folder}/both.yaml", subject)
    by_name = {metric.name.removesuffix(" (0-shot)"): metric for metric in result.metrics}
    assert list(by_name) == ["first", "one: second", "one: first", "two: second", "two: first"]
    assert by_name["first"].n == 8
    assert by_name["first"].value == pytest.approx(
        (6 * by_name["one: first"].value + 2 * by_name["two: first"].value) / 8
    )
    assert [sample.id for sample in result.samples][5:7] == ["one/5", "two/0"]


def test_a_group_of_one_lists_its_task_under_its_name(folder, subject) -> None:
    write(folder, name="one")
    (folder / "single.yaml").write_text(
        "group: single\ntask: [one]\naggregate_metric_list:\n"
        "  - {metric: first, aggregation: mean, weight_by_size: true}\n"
    )
    names = [m.name for m in measure(f"lmms-eval:{folder}/single.yaml", subject).metrics]
    assert names == ["first (0-shot)", "one: second (0-shot)", "one: first (0-shot)"]


@pytest.fixture
def small_index(monkeypatch):
    """ScienceQA's tasks stand for all of lmms-eval's, whose index takes ten seconds."""
    with contained():
        from tasks.lmms_eval import loading

    class Small(loading.TaskManager):
        def __init__(self, include_path=None, *, include_defaults=True) -> None:
            own = [str(stock("scienceqa"))] if include_defaults else []
            super().__init__(
                include_path=[*([include_path] if include_path else []), *own],
                include_defaults=False,
            )

    monkeypatch.setattr(loading, "TaskManager", Small)
    loading._whole_index.cache_clear()
    yield
    loading._whole_index.cache_clear()


def test_groups_may_hold_tasks_of_lmms_eval(folder, small_index) -> None:
    write(folder, name="one")
    (folder / "both.yaml").write_text("group: both\ntask: [one, scienceqa]\n")
    with pytest.raises(AssetError, match="'scienceqa' cannot be had"):
        prepare(f"lmms-eval:{folder}/both.yaml")


def test_bootstrapped_errors_need_no_other_process(folder, subject, monkeypatch) -> None:
    def fork() -> None:
        pytest.fail("another process")

    monkeypatch.setattr(os, "fork", fork)
    (folder / "own.py").write_text(OWN.replace("len(results[0])", "doc['number'] ** 2"))
    name = write(folder)
    path = folder / "own.yaml"
    path.write_text(
        path.read_text().replace("first, aggregation: mean", "first, aggregation: median")
    )
    kept, left_out = measure(name, subject), measure(name, subject, bootstrap_iters=0)
    assert kept.metrics[1].stderr > 0
    assert left_out.metrics[1].stderr is None
    assert left_out.metrics[1].value == kept.metrics[1].value


def test_repeats_are_scored_once(folder, subject) -> None:
    once = measure(write(folder), subject)
    with (folder / "own.yaml").open("a") as file:
        file.write("repeats: 2\n")
    twice = measure(f"lmms-eval:{folder}/own.yaml", subject)
    assert (twice.metrics, twice.samples) == (once.metrics, once.samples)


def test_submission_files_stay_away(tmp_path, subject, monkeypatch) -> None:
    save(reading_rows(3), tmp_path / "reading.parquet")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    result = measure(f"lmms-eval:{reading_task(tmp_path)}", subject, max_new_tokens=2)
    assert [metric.name for metric in result.metrics] == ["exact_match (0-shot, max_new_tokens=2)"]
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "local_reading.yaml"])


@pytest.mark.parametrize("name", ["scienceqa", "textvqa_val", "mme"])
def test_absent_data_of_lmms_eval_is_named_at_once(name) -> None:
    with pytest.raises(
        AssetError, match=rf"data set lmms-lab\S* .*'{name}'.*HF_HUB_OFFLINE"
    ) as told:
        prepare(f"lmms-eval:{name}")
    assert "oken is required" not in str(told.value)


def test_absent_local_data_is_named(folder) -> None:
    with pytest.raises(AssetError, match=r"'own' cannot be had: .*nowhere\.parquet"):
        prepare(write(folder, data=f"{folder}/nowhere.parquet"))


@pytest.mark.parametrize(("place", "error"), [(0, UsageError), (1, AssetError)])
def test_unreadable_images_are_named(folder, subject, place, error) -> None:
    stored = io.BytesIO()
    noise(0).save(stored, "png")
    images = [stored.getvalue(), stored.getvalue()]
    images[place] = b"no image"
    content = [
        {"images": [{"bytes": data, "path": None}], "question": "x", "number": 0} for data in images
    ]
    save_images(content, folder / "broken.parquet")
    with pytest.raises(error, match="cannot identify image file"):
        measure(write(folder, data="broken.parquet"), subject)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output_type": "generate_until_multi_round"}, "'own' is of kind generate_until_multi"),
        ({"output_type": "multiple_choice", "generation_kwargs": ""}, "kind multiple_choice"),
        ({"output_type": "nonsense"}, "invalid output_type"),
        ({"dataset_kwargs": "{video: true, cache_dir: x}"}, "'own' shows videos"),
        ({"doc_to_text": "!function own.missing"}, "does not load: AttributeError"),
        ({"doc_to_text": "!function elsewhere.missing"}, "does not load: .*'elsewhere'"),
        ({"generation_kwargs": "{seed: 0}"}, "generation with seed"),
        ({"colour": "red"}, "colour"),
    ],
    ids=lambda value: "" if isinstance(value, str) else " ".join(value.values()),
)
def test_what_is_not_supported_is_named_before_a_model_loads(folder, changes, message) -> None:
    name = write(folder, **{key: value for key, value in changes.items() if key != "colour"})
    if "colour" in changes:
        with (folder / "own.yaml").open("a") as file:
            file.write("colour: red\n")
    with pytest.raises(UsageError, match=message):
        prepare(name)


def test_films_are_not_supported(folder, subject) -> None:
    name = write(folder, doc_to_visual="!function own.film")
    with pytest.raises(UsageError, match="'own' shows a str that is no image"):
        measure(name, subject)


@pytest.mark.parametrize("method", ["loglikelihood", "generate_until_multi_round"])
def test_other_requests_are_refused(folder, subject, method) -> None:
    with contained():
        from tasks.lmms_eval.adapter import InMemory

    class Request:
        task_name = "own"

    with pytest.raises(UsageError, match="lmms-eval task 'own'"):
        getattr(InMemory(subject, {}, 1, None), method)([Request()])


def test_fingerprint_follows_documents_images_prompts_and_scoring(folder, tmp_path_factory) -> None:
    def fingerprint(where: Path, **changes: str) -> str:
        return prepare(write(where, **changes)).data.fingerprint

    own = fingerprint(folder)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    save_images(rows(), elsewhere / "own.parquet")
    (elsewhere / "own.py").write_text(OWN)
    assert fingerprint(elsewhere) == own
    assert fingerprint(elsewhere, doc_to_text='"{{question}}?"') != own
    assert fingerprint(elsewhere, generation_kwargs="{max_new_tokens: 5}") != own
    (elsewhere / "own.py").write_text(OWN.replace("len(results[0])", "1.0"))
    assert fingerprint(elsewhere) != own
    (elsewhere / "own.py").write_text(OWN)
    swapped = rows()
    swapped[0]["images"] = swapped[0]["images"][::-1]
    save_images(swapped, elsewhere / "swapped.parquet")
    assert fingerprint(elsewhere, data="swapped.parquet") != own
    facts = prepare(write(folder)).data
    assert facts.reference == write(folder)
    assert facts.revision == "lmms-eval 0.7.3"


def test_fingerprint_follows_images_behind_names(folder, subject) -> None:
    def fingerprint(seed: int) -> str:
        noise(seed).save(folder / "shown.png")
        return prepare(name).data.fingerprint

    path = str(folder / "shown.png")
    table = datasets.Dataset.from_list([{"file": path, "question": "x", "number": 0}])
    table.to_parquet(folder / "named.parquet")
    name = write(folder, data="named.parquet", doc_to_visual="!function own.by_name")
    assert fingerprint(1) == fingerprint(1) != fingerprint(2)
    assert measure(name, subject).samples[0].id == "own/0"
    (folder / "shown.png").unlink()
    with pytest.raises(AssetError, match=r"'own' cannot be read: .*shown\.png"):
        prepare(name)


def test_own_data_goes_into_a_task_file(folder) -> None:
    with pytest.raises(UsageError, match="YAML file"):
        plugin.prepare(write(folder), "data.jsonl", LmmsEvalConfig())


def test_unknown_name_suggests_near_ones(small_index) -> None:
    with pytest.raises(UsageError, match="'scienceqaa'; did you mean scienceqa"):
        prepare("lmms-eval:scienceqaa")
    with pytest.raises(UsageError, match=r"no task file 'absent\.yaml'"):
        prepare("lmms-eval:absent.yaml")


def test_fingerprint_follows_the_helpers_of_its_code(folder, subject, monkeypatch) -> None:
    monkeypatch.syspath_prepend(folder)
    (folder / "own.py").write_text(
        OWN.replace("len(results[0])", "own_worth.WORTH").replace(
            "from PIL", "import own_worth\nfrom PIL"
        )
    )

    def measured(worth: int) -> tuple[str, float]:
        (folder / "own_worth.py").write_text(f"WORTH = {worth}.0\n")
        prepared = prepare(write(folder))
        assert prepared.data.code == ("own.py", "own_worth.py")
        outcome = prepared.evaluate(subject, Conditions())
        values = {metric.name.partition(" ")[0]: metric.value for metric in outcome.metrics}
        return prepared.data.fingerprint, values["first"]

    first, second, again = measured(2), measured(3), measured(2)
    assert (first[1], second[1]) == (2, 3)
    assert first == again
    assert first[0] != second[0]


def test_what_a_reader_must_know_is_counted(folder, subject) -> None:
    warning = '\n    __import__("loguru").logger.warning("number {} is odd", doc["number"])\n'
    own = OWN.replace('return doc["question"]', 'return "<image>" + doc["question"]')
    (folder / "own.py").write_text(
        own.replace("score(doc, results):\n", "score(doc, results):" + warning)
    )
    result = measure(write(folder), subject)
    found = {caution.kind: (caution.effect, caution.count) for caution in result.cautions}
    assert found["images missing"] == ("changes the number", 2)
    assert found["message of a library"] == ("advice", 6)
    ended = found.get("answers ended by length", ("advice", 0))
    assert ended[0] == "advice"
    more = write(folder, generation_kwargs="{max_new_tokens: 1}")
    (cut,) = (c for c in measure(more, subject).cautions if c.kind == "answers ended by length")
    assert cut.text == f"{cut.count} of 6 answers ended by the maximum length, not by themselves"
