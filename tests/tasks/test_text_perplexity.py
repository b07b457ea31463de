"""The text tasks: what they read, how they join it, how much of it they keep."""

from __future__ import annotations

import gzip
import json
import logging
import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
import torch

from harness.assets.kinds import TextAsset
from harness.errors import NonFiniteError, UsageError
from harness.evaluation.task import Conditions, Task
from tasks import c4, c4_excerpt, ptb, text_perplexity, wiki_excerpt, wikitext2
from tasks.text_perplexity import ExcerptConfig, PerplexityConfig
from tests.tasks.sentences import CONTEXT, sentence

WINDOW = 16
CONFIG = PerplexityConfig(WINDOW)
ROWS = [sentence(i, 5 + i % 7) for i in range(31)]

TASKS = {
    "wikitext2": (wikitext2.plugin, "\n\n", None, 2048),
    "ptb": (ptb.plugin, " ", None, 2048),
    "c4": (c4.plugin, " ", 256, 2048),
    "wiki-excerpt": (wiki_excerpt.plugin, "\n\n", 24, 512),
    "c4-excerpt": (c4_excerpt.plugin, "\n\n", 24, 512),
}
every_task = pytest.mark.parametrize("name", TASKS)


def write_parquet(path: Path, column: str, rows: list[str]) -> Path:
    pyarrow.parquet.write_table(pa.table({column: rows}), path)
    return path


def write_json(path: Path, rows: list[str]) -> Path:
    path.write_bytes(gzip.compress("\n".join(json.dumps({"text": row}) for row in rows).encode()))
    return path


def write_text(path: Path, rows: list[str]) -> Path:
    path.write_text("\n".join(rows))
    return path


@pytest.fixture
def prepared(tmp_path):
    path = write_text(tmp_path / "text.txt", ROWS)
    return wikitext2.plugin.prepare("wikitext2", str(path), CONFIG)


@every_task
def test_protocol(name) -> None:
    plugin, separator, max_windows, window = TASKS[name]
    assert isinstance(plugin, Task)
    assert (plugin.separator, plugin.max_windows) == (separator, max_windows)
    assert plugin.config().window == window


@every_task
def test_own_text_is_asked_for_by_its_name(name, monkeypatch) -> None:
    plugin, separator, _, _ = TASKS[name]

    def resolve(reference: str, purpose: str, _cut: object) -> TextAsset:
        assert (reference, purpose) == (name, "evaluation")
        return TextAsset(reference, tuple(ROWS), "f" * 64, "revision")

    monkeypatch.setattr(text_perplexity, "resolve_text", resolve)
    prepared = plugin.prepare(name, None, plugin.config())
    assert prepared.text == separator.join(ROWS)
    assert (prepared.data.reference, prepared.data.fingerprint) == (name, "f" * 64)
    assert prepared.data.revision == "revision"


def test_files_as_the_hub_has_them(tmp_path) -> None:
    wiki = write_parquet(tmp_path / "wiki.parquet", "text", ROWS)
    tree = write_parquet(tmp_path / "tree.parquet", "sentence", ROWS)
    web = write_json(tmp_path / "web.json.gz", ROWS)
    for plugin, path, separator in (
        (wikitext2.plugin, wiki, "\n\n"),
        (ptb.plugin, tree, " "),
        (c4.plugin, web, " "),
    ):
        assert plugin.prepare("task", str(path), CONFIG).text == separator.join(ROWS)


@pytest.mark.parametrize("name", ["wiki-excerpt", "c4-excerpt"])
def test_plain_file_is_used_as_it_stands(name, tmp_path) -> None:
    path = write_text(tmp_path / "text.txt", ROWS)
    plugin = TASKS[name][0]
    prepared = plugin.prepare(name, str(path), plugin.config())
    assert prepared.text == "\n".join(ROWS)
    assert prepared.data.uncut is None


# As the hub has them: lines with their ends, blank ones empty; lines stripped; documents.
WIKI_ROWS = [
    "",
    " = Title = \n",
    "",
    f" {sentence(1, 60)} \n",
    f" {sentence(2, 60)} \n",
    "",
    " end",
]
TREE_ROWS = [sentence(i, 20) for i in range(8)]
WEB_ROWS = [sentence(i, 20) for i in range(8)]
FILES = {
    "wikitext2": (WIKI_ROWS, "text", "".join(row or " \n" for row in WIKI_ROWS)),
    "ptb": (TREE_ROWS, "sentence", "".join(f" {row} \n" for row in TREE_ROWS)),
    "c4": (WEB_ROWS, "text", "\n".join(WEB_ROWS)),
}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("name", FILES)
def test_every_form_of_a_data_set_gives_what_a_plain_loop_over_its_rows_gives(
    name, end, tmp_path, subject
) -> None:
    plugin, separator, _, _ = TASKS[name]
    rows, column, raw = FILES[name]
    raw_file = tmp_path / "rows.raw"
    raw_file.write_bytes(raw.replace("\n", end).encode())
    parquet = write_parquet(tmp_path / "rows.parquet", column, rows)
    lines = tmp_path / "rows.jsonl"
    lines.write_text("".join(json.dumps({column: row}) + "\n" for row in rows))
    model = subject("llama")
    tokens = model.tokenizer(separator.join(rows), return_tensors="pt").input_ids[0]
    losses = [
        model.model(ids[None], labels=ids[None]).loss.item()
        for ids in tokens[: len(tokens) // WINDOW * WINDOW].split(WINDOW)
    ]
    expected = math.exp(sum(losses) / len(losses))
    for path in (raw_file, parquet, lines):
        prepared = plugin.prepare(name, str(path), CONFIG)
        assert prepared.text == separator.join(rows)
        value = prepared.evaluate(model, Conditions()).metrics[0].value
        assert value == pytest.approx(expected, rel=1e-5)


def test_rows_of_wikitext_that_are_joined_already_are_left_as_they_are(tmp_path) -> None:
    rows = [*WIKI_ROWS[:-1], " end \n", ""]
    path = tmp_path / "joined.txt"
    path.write_text("\n\n".join(rows))
    prepared = wikitext2.plugin.prepare("wikitext2", str(path), CONFIG)
    assert prepared.text == "\n\n".join(rows)
    assert prepared.data.fingerprint == prepared.data.uncut


@pytest.mark.parametrize("name", ["rows.txt", "ROWS.TXT", "rows.Raw"])
def test_a_plain_text_has_lines_however_its_name_is_written(tmp_path, name) -> None:
    path = tmp_path / name
    path.write_text("a\nb\n")
    assert c4.plugin.prepare("c4", str(path), CONFIG).text == "a b"


def test_only_plain_text_has_lines(tmp_path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in ("a\nb", "c\nd")))
    assert c4.plugin.prepare("c4", str(path), CONFIG).text == "a\nb c\nd"


def test_cut_text_has_an_identity_of_its_own_and_that_of_the_file(tmp_path) -> None:
    path = write_text(tmp_path / "text.txt", ROWS)
    facts = wikitext2.plugin.prepare("wikitext2", str(path), CONFIG).data
    whole = wiki_excerpt.plugin.prepare("wiki-excerpt", str(path), ExcerptConfig()).data
    assert facts.fingerprint != facts.uncut == whole.fingerprint


def test_c4_reads_no_more_than_its_protocol(tmp_path, subject) -> None:
    path = write_json(tmp_path / "web.json.gz", [f"{i} the cat" for i in range(1200)])
    prepared = c4.plugin.prepare("c4", str(path), PerplexityConfig(2))
    assert prepared.text.endswith(" 1099 the cat")
    assert prepared.evaluate(subject("opt"), Conditions(batch_size=64)).metrics[0].n == 256


def test_excerpt_is_complete_at_its_fixed_number_of_windows(tmp_path, subject) -> None:
    path = write_text(tmp_path / "text.txt", ROWS)
    prepared = wiki_excerpt.plugin.prepare("wiki-excerpt", str(path), ExcerptConfig(8))
    assert prepared.evaluate(subject("opt"), Conditions()).metrics[0].n == 24


def test_result_equals_a_plain_computation(prepared, subject) -> None:
    model = subject("llama")
    tokens = model.tokenizer(prepared.text, return_tensors="pt").input_ids[0]
    count = len(tokens) // WINDOW
    assert len(tokens) % WINDOW
    losses = [
        model.model(ids[None], labels=ids[None]).loss.item()
        for ids in tokens[: count * WINDOW].split(WINDOW)
    ]
    result = prepared.evaluate(model, Conditions())
    (metric,) = result.metrics
    assert metric.name == f"perplexity_token@{WINDOW}"
    assert metric.value == pytest.approx(math.exp(sum(losses) / count), rel=1e-5)
    assert (metric.n, metric.unit, metric.higher_is_better) == (count, "windows", False)
    spread = torch.tensor(losses).std().item() / math.sqrt(count)
    assert metric.stderr == pytest.approx(metric.value * spread, rel=1e-3)
    assert [sample.id for sample in result.samples] == [str(i) for i in range(count)]
    assert [sample.values["nll"] for sample in result.samples] == pytest.approx(losses, rel=1e-5)
    assert {sample.values["tokens"] for sample in result.samples} == {WINDOW - 1}


def test_default_special_tokens_are_used(prepared, subject, monkeypatch) -> None:
    model, calls = subject("opt"), []
    encode = type(model.tokenizer).__call__

    def remember(self, text, **options):
        calls.append(options)
        return encode(self, text, **options)

    monkeypatch.setattr(type(model.tokenizer), "__call__", remember)
    prepared.evaluate(model, Conditions())
    assert len(calls) == 1
    assert "add_special_tokens" not in calls[0]


def test_limit_keeps_the_first_windows(prepared, subject) -> None:
    model = subject("opt")
    whole, limited = (
        prepared.evaluate(model, Conditions(batch_size=1, limit=limit)) for limit in (None, 3)
    )
    assert limited.samples == whole.samples[:3]
    assert limited.metrics[0].n == 3


def test_one_window_has_no_standard_error(prepared, subject) -> None:
    assert prepared.evaluate(subject("opt"), Conditions(limit=1)).metrics[0].stderr is None


def test_batch_shrinks_until_it_fits(prepared, subject, out_of_memory_above) -> None:
    model = subject("llama")
    expected = prepared.evaluate(model, Conditions(batch_size=2))
    seen = out_of_memory_above(model.model, 2)
    assert prepared.evaluate(model, Conditions(batch_size=8)) == expected
    assert expected.batch_size == 2
    assert seen[:3] == [8, 4, 2]


def test_errors_of_the_model_pass(prepared, subject, monkeypatch) -> None:
    model = subject("opt")

    def fail(**inputs):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(model.model, "forward", fail)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        prepared.evaluate(model, Conditions())


def test_broken_model_is_an_error(prepared, subject) -> None:
    model = subject("llama")
    model.model.lm_head.weight.data[7] = math.nan
    with pytest.raises(NonFiniteError, match="window 0"):
        prepared.evaluate(model, Conditions())


def test_progress_is_reported(prepared, subject) -> None:
    seen = []

    def track(items, description, total):
        seen.append((description, total))
        return iter(items)

    result = prepared.evaluate(subject("opt"), Conditions(batch_size=4, track=track))
    assert seen == [("perplexity", math.ceil(result.metrics[0].n / 4))]


def test_long_text_gives_no_warning(prepared, subject, caplog) -> None:
    logging.getLogger("transformers").addHandler(caplog.handler)
    try:
        prepared.evaluate(subject("opt"), Conditions(limit=1))
    finally:
        logging.getLogger("transformers").removeHandler(caplog.handler)
    assert not caplog.records


def test_short_text_says_how_short(tmp_path, subject) -> None:
    path = write_text(tmp_path / "short.txt", ["the cat sat"])
    short = wikitext2.plugin.prepare("wikitext2", str(path), PerplexityConfig(CONTEXT))
    with pytest.raises(UsageError, match=rf"short\.txt holds \d+ tokens.*{CONTEXT}"):
        short.evaluate(subject("opt"), Conditions())


def test_window_beyond_the_context_says_what_to_pass(tmp_path, subject) -> None:
    path = write_text(tmp_path / "text.txt", ROWS)
    wide = wikitext2.plugin.prepare("wikitext2", str(path), PerplexityConfig(CONTEXT + 1))
    with pytest.raises(UsageError, match=f"--window {CONTEXT}"):
        wide.evaluate(subject("opt"), Conditions())


def test_window_of_one_token_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="predicts nothing"):
        PerplexityConfig(1)
