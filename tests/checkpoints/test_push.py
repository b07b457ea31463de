"""``harness push`` to a hub on this machine, and ``harness verify`` of what arrived there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from huggingface_hub import ModelCard, constants

from harness.checkpoints.saved_record import read_saved_record
from tests.helpers.hub_server import READER, TOKEN, Repository, serving
from tests.helpers.measured_model import measured_model
from tests.helpers.outcomes import one_line

USAGE, INFRASTRUCTURE = 2, 3


@pytest.fixture
def hub(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    with serving() as standin:
        monkeypatch.setattr(constants, "ENDPOINT", standin.url)
        yield standin


@pytest.fixture(scope="module")
def measured_once(one_thread, model_folder, texts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("measured")
    return measured_model(
        folder, model_folder("llama"), texts, f"wikitext2={texts / 'evaluation.txt'}"
    )


@pytest.fixture
def small(measured_once, tmp_path):
    return shutil.copytree(measured_once, tmp_path / "small")


def test_a_push_sends_the_files_of_the_manifest_and_the_card_in_one_commit(cli, hub, small):
    (small / ".env").write_text("SECRET=1")
    (small / "notes.txt").write_text("mine")
    code, out, _ = cli("push", "me/small", small, "--private")
    assert code == 0
    assert f"{hub.url}/me/small: commit " in out
    repository = hub.repositories["me/small"]
    assert repository.private
    assert len(repository.commits) == 1
    sent = repository.files.keys() - {".gitattributes"}
    assert sent == {path.name for path in small.iterdir()} - {".env", "notes.txt"}
    for name in sent:
        assert repository.files[name] == (small / name).read_bytes()
    assert repository.large == {"model.safetensors"}


def test_the_card_has_the_results_with_all_their_digits(small):
    (record,) = read_saved_record(small).records
    (result,) = ModelCard.load(small / "README.md").data.eval_results
    metric = record.result.metrics[0]
    assert result.metric_value == metric.value
    assert (result.metric_type, result.metric_name) == ("perplexity_token", metric.name)
    assert result.dataset_type == "wikitext2"
    assert ModelCard.load(small / "README.md").data.base_model is None


@pytest.mark.parametrize("card", ["# Mine\n", "---\nlicense: mit\n---\n# Mine\n", None])
def test_a_card_without_results_gets_them_and_keeps_the_rest(cli, hub, small, card):
    (small / "README.md").unlink()
    if card is not None:
        (small / "README.md").write_text(card)
    assert cli("push", "me/small", small)[0] == 0
    sent = hub.repositories["me/small"].files["README.md"].decode()
    assert ModelCard(sent).data.eval_results
    assert card is None or "# Mine" in sent
    assert card is None or "license" not in card or "license: mit" in sent


def test_what_is_there_already_is_not_sent_again(cli, hub, small):
    assert cli("push", "me/small", small)[0] == 0
    hub.requests.clear()
    code, out, _ = cli("push", "me/small", small)
    assert code == 0
    assert "nothing to send" in out
    assert hub.requests == ["GET /api/models/me/small"]


def test_a_repository_that_holds_something_else_is_left_alone_unless_asked(cli, hub, small):
    hub.repositories["me/small"] = Repository(False, {"a.txt": b"a", "model.safetensors": b"b"})
    outcome = cli("push", "me/small", small)
    assert one_line(outcome, "exists and holds a.txt and 1 more", "--replace") == USAGE
    assert hub.repositories["me/small"].commits == []
    assert cli("push", "me/small", small, "--replace")[0] == 0
    repository = hub.repositories["me/small"]
    assert len(repository.commits) == 1
    assert repository.files.keys() == {path.name for path in small.iterdir()}


def test_a_public_repository_does_not_become_private_in_silence(cli, hub, small):
    hub.repositories["me/small"] = Repository(False)
    outcome = cli("push", "me/small", small, "--private")
    assert one_line(outcome, "exists and is public") == USAGE
    assert hub.repositories["me/small"].files == {}


@pytest.mark.parametrize("stage", ["/preupload/", "/info/lfs/", "/objects/", "/commit/"])
def test_a_push_that_breaks_off_leaves_nothing_half_written(cli, hub, small, stage):
    hub.breaks = stage
    assert one_line(cli("push", "me/small", small), "nothing was committed") == INFRASTRUCTURE
    repository = hub.repositories["me/small"]
    assert repository.files.keys() == {".gitattributes"}
    hub.breaks = None
    assert cli("push", "me/small", small)[0] == 0
    assert len(repository.commits) == 1


def test_tokens_that_are_missing_or_not_good_enough_are_named(cli, hub, small, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert one_line(cli("push", "me/small", small), "hf auth login") == INFRASTRUCTURE
    monkeypatch.setenv("HF_TOKEN", READER)
    assert one_line(cli("push", "me/small", small), "may not write there") == INFRASTRUCTURE
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(small / "no token"))
    hub.requests.clear()
    assert one_line(cli("push", "me/small", small), "hf auth login") == USAGE
    assert hub.requests == []


def test_without_a_network_there_is_one_line(cli, hub, small, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    outcome = cli("push", "me/small", small)
    assert one_line(outcome, "broke off (ConnectError", "nothing was committed") == INFRASTRUCTURE


def test_what_is_no_saved_model_or_no_repository_is_refused(cli, hub, small, model_folder):
    assert one_line(cli("push", "small", small), "write OWNER/NAME") == USAGE
    assert one_line(cli("push", "me/x", model_folder("llama")), "no model saved by") == USAGE
    (small / "config.json").write_text((small / "config.json").read_text() + " ")
    assert one_line(cli("push", "me/x", small), "is not as it was saved") == INFRASTRUCTURE
    assert hub.requests == []


def test_what_was_pushed_is_opened_and_verified_by_its_name(cli, hub, small, tmp_path):
    assert cli("push", "me/small", small)[0] == 0
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_XET": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli.main", "verify", "me/small", "--device", "cpu"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "holds" in done.stdout
