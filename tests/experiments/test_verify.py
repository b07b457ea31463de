"""``harness verify``: a claim that is measured again holds, or is said not to."""

from __future__ import annotations

import json
import shutil

import pytest
from huggingface_hub import ModelCard

from harness.checkpoints.manifest import write_manifest
from harness.checkpoints.saved_record import RECORD, read_saved_record
from harness.experiments.verify import same_platform, within
from harness.records.results import Metric
from tests.helpers.measured_model import measured_model

VERDICT, USAGE, DAMAGE, INCOMPLETE = 1, 2, 3, 4


@pytest.fixture(scope="module")
def claiming_once(one_thread, model_folder, texts, tmp_path_factory):
    tasks = (f"wikitext2={texts / 'evaluation.txt'}", f"ptb={texts / 'other.txt'}")
    folder = tmp_path_factory.mktemp("claiming")
    return measured_model(folder, model_folder("opt"), texts, *tasks)


@pytest.fixture
def claiming(claiming_once, tmp_path):
    return shutil.copytree(claiming_once, tmp_path / "small")


@pytest.fixture
def changed(claiming):
    """Write other records into the folder, with digests and manifest as they are to be."""

    def change(alter, *, sealed=True):
        saved = read_saved_record(claiming)
        records = tuple(alter(record) for record in saved.records)
        if sealed:
            records = tuple(record.sealed() for record in records)
        text = saved.model_copy(update={"records": records}).model_dump_json(indent=1)
        (claiming / RECORD).write_text(text)
        (claiming / "README.md").unlink()
        (claiming / "harness.json").unlink()
        write_manifest(claiming)

    return change


def with_value(record, factor):
    first, *rest = record.result.metrics
    first = first.model_copy(update={"value": first.value * factor})
    result = record.result.model_copy(update={"metrics": (first, *rest)})
    return record.model_copy(update={"result": result})


def elsewhere(record):
    environment = record.environment.model_copy(update={"platform": "another"})
    return record.model_copy(update={"environment": environment})


def claims(out):
    return [json.loads(line) for line in out.splitlines()]


def one_line(outcome, *parts):
    """The exit code; lines of progress may stand before the error."""
    code, _, errors = outcome
    *progress, last = errors.splitlines()
    assert all(line.startswith("[") for line in progress), errors
    assert last.startswith("harness: error: ")
    for part in parts:
        assert part in last
    return code


def test_true_claims_hold_to_the_digit(cli, claiming):
    code, out, _ = cli("verify", claiming, "--device", "cpu", "--json")
    assert code == 0
    found = claims(out)
    assert {claim["task"] for claim in found} == {"wikitext2", "ptb"}
    for claim in found:
        assert claim["outcome"] == "holds"
        assert claim["measured"] == claim["claimed"]
        assert claim["reason"] == "equal to the digit"
    code, out, _ = cli("verify", claiming, "--device", "cpu", "--tasks", "ptb", "--json")
    assert code == 0
    assert {claim["task"] for claim in claims(out)} == {"ptb"}


def test_a_number_that_is_not_measured_again_ends_with_the_verdict(cli, claiming, changed):
    changed(lambda record: with_value(record, 1 - 1e-6))
    code, out, _ = cli("verify", claiming, "--device", "cpu", "--tasks", "ptb")
    assert code == VERDICT
    assert "does not hold" in out
    assert "same platform" in out


@pytest.mark.parametrize(("factor", "code"), [(1 + 5e-4, 0), (1 - 5e-3, VERDICT)])
def test_on_another_platform_it_holds_within_the_tolerance(cli, claiming, changed, factor, code):
    changed(lambda record: elsewhere(with_value(record, factor)))
    done = cli("verify", claiming, "--device", "cpu", "--tasks", "ptb")
    assert done.code == code
    assert "another platform" in done.out
    assert cli("verify", claiming, "--tasks", "ptb", "--tolerance", "0.01")[0] == 0


def test_a_card_that_claims_what_the_record_does_not_is_caught(cli, claiming):
    card = ModelCard.load(claiming / "README.md")
    result = card.data.eval_results[0]
    result.metric_value = 1.5
    card.save(claiming / "README.md")
    code, out, _ = cli("verify", claiming, "--device", "cpu", "--json", "--tasks", "ptb")
    assert code == VERDICT
    first, *others = claims(out)
    assert first["claimed"] == 1.5
    assert "the model card says so" in first["reason"]
    assert all(claim["outcome"] == "holds" for claim in others)


@pytest.mark.parametrize(
    "front", ["model-index: 7", "model-index: [{name: a, results: [3]}]", "a: ["]
)
def test_a_card_that_cannot_be_read_is_one_line(cli, claiming, front):
    (claiming / "README.md").write_text(f"---\n{front}\n---\n# Mine\n")
    assert one_line(cli("verify", claiming), "model card cannot be read") == DAMAGE


def test_data_that_are_not_there_or_not_the_same_are_no_verdict(cli, claiming, changed, texts):
    def moved(record):
        task = record.spec.task.model_copy(update={"data": "nowhere.txt"})
        return record.model_copy(update={"spec": record.spec.model_copy(update={"task": task})})

    changed(moved)
    outcome = cli("verify", claiming, "--tasks", "ptb")
    assert one_line(outcome, "1 of 1 claims were not measured", "nowhere.txt") == INCOMPLETE
    own = f"ptb={texts / 'evaluation.txt'}"
    assert one_line(cli("verify", claiming, "--tasks", own), "not those of the claim") == INCOMPLETE
    assert cli("verify", claiming, "--tasks", f"ptb={texts / 'other.txt'}")[0] == 0


def test_code_that_a_record_names_is_not_run(cli, claiming, changed):
    (claiming / "evil.yaml").write_text("task: evil\nprocess_docs: !function evil.run\n")
    (claiming / "evil.py").write_text(f"open({str(claiming / 'ran')!r}, 'w')\n")

    def renamed(record):
        task = record.spec.task.model_copy(update={"name": str(claiming / "evil.yaml")})
        return record.model_copy(update={"spec": record.spec.model_copy(update={"task": task})})

    changed(renamed)
    assert one_line(cli("verify", claiming), "a file of code") == INCOMPLETE
    assert not (claiming / "ran").exists()


def test_what_claims_nothing_is_said(cli, claiming, changed, saved_once, model_folder):
    assert one_line(cli("verify", saved_once), "claims no results", "harness run") == USAGE
    assert one_line(cli("verify", model_folder("opt")), "no model saved by harness") == USAGE
    assert one_line(cli("verify", claiming, "--tasks", "c4"), "unknown claimed task 'c4'") == USAGE
    changed(lambda record: with_value(record, 2), sealed=False)
    assert one_line(cli("verify", claiming), "changed after it was written") == DAMAGE


def test_a_share_may_differ_by_a_unit_and_a_perplexity_by_its_tolerance():
    accuracy = Metric(
        name="acc", value=0.5, stderr=None, n=50, unit="questions", higher_is_better=True
    )
    assert within(accuracy, 0.52, 1e-3)
    assert not within(accuracy, 0.54, 1e-3)
    perplexity = accuracy.model_copy(update={"value": 20.0, "higher_is_better": False})
    assert within(perplexity, 20.019, 1e-3)
    assert not within(perplexity, 20.021, 1e-3)
    assert not within(perplexity, float("nan"), 1e-3)


def test_a_platform_is_what_can_change_the_last_digit(claiming):
    environment = read_saved_record(claiming).records[0].environment
    assert same_platform(environment, environment.model_copy(update={"commit": "other"}))
    assert not same_platform(environment, environment.model_copy(update={"threads": 99}))
