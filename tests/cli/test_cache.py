"""``harness cache`` and ``harness fetch`` as a person sees them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers.tiny_wheels import make_wheel

TEXT = "pypi:tiny-asset==1.0!tiny_asset/text.txt"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def wheel(tmp_path, monkeypatch, texts):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "links"))
    return make_wheel(tmp_path / "links", (texts / "calibration.txt").read_text())


@pytest.fixture
def recipe(tmp_path, model_folder, texts):
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"""
models: ["{model_folder("llama")}", acme/absent]
methods: [svd, asvd-l2]
ratios: [0.3, 0.5]
tasks: [{{name: wikitext2, data: "{texts / "evaluation.txt"}", options: {{window: 32}}}}]
calibration: {{text: "{TEXT}", samples: 2, length: 8}}
overrides: [{{when: {{model: acme/absent}}, set: {{skip: true}}}}]
"""
    )
    return path


def test_a_recipe_is_fetched_once_each_thing_and_then_never_again(cli, cache, wheel, recipe):
    first = cli("fetch", recipe)
    assert first.code == 0, first.err
    assert [line[:5] for line in first.err.splitlines()] == ["[1/3]", "[2/3]", "[3/3]"]
    assert first.out.count("there already") == 2
    assert "935 B │ fetched" in first.out
    wheel.unlink()
    second = cli("fetch", recipe)
    assert second.code == 0
    assert "fetched" not in second.out
    assert second.err.endswith("nothing to fetch: all of it is here already\n")


def test_what_cannot_be_had_does_not_stop_the_rest(cli, cache, wheel, recipe, model_folder):
    wheel.rename(wheel.with_name("tiny_asset-2.0-py3-none-any.whl"))
    outcome = cli("fetch", recipe)
    assert outcome.code == 3
    assert outcome.out.count("there already") == 2
    last = outcome.err.splitlines()[-1]
    assert "1 of 3 could not be had; the first, calibration" in last
    assert f"cannot fetch '{TEXT}': No matching distribution" in last
    model = ("--model", model_folder("llama"), "--calibration", TEXT)
    outcome = cli("fetch", *model, "--tasks", "wikitext2=./absent.txt")
    assert outcome.code == 3
    assert "no such file or folder: ./absent.txt" in outcome.out


def test_only_wrong_names_are_the_users_fault(cli, cache, model_folder, texts):
    data = f"wikitext2={texts / 'evaluation.txt'}"
    outcome = cli("fetch", "--model", "smollm2", "--calibration", data[10:], "--tasks", data)
    assert outcome.code == 2
    assert "did you mean smollm2-135m" in outcome.err


@pytest.mark.parametrize("arguments", [["--offline"], []])
def test_fetching_offline_is_refused(cli, arguments, monkeypatch):
    if not arguments:
        monkeypatch.setenv("HARNESS_OFFLINE", "1")
    outcome = cli("fetch", *arguments)
    assert outcome.code == 2
    assert "fetch cannot work offline" in outcome.err


def test_a_recipe_names_everything(cli, recipe):
    outcome = cli("fetch", recipe, "--model", "builtin:opt-tiny")
    assert outcome.code == 2
    assert "remove it, or --model" in outcome.err


def test_the_cache_is_listed_verified_and_emptied(cli, cache, wheel, recipe):
    assert "holds nothing: 0 B" in cli("cache", "ls").out
    cli("fetch", recipe)
    listed = json.loads(cli("cache", "ls", "--json").out)
    kinds = {entry["kind"]: entry for entry in listed["entries"]}
    assert set(kinds) == {"wheels", "pins", "hashes"}
    assert kinds["wheels"]["source"] == kinds["pins"]["source"] == TEXT
    assert kinds["wheels"]["state"] == "whole"
    on_disk = [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert listed["bytes"] == sum(path.stat().st_size for path in on_disk)
    assert listed["root"] == str(cache)
    assert set(listed["elsewhere"]) == {"models of the hub", "its datasets"}
    assert "1 wheels, 1 pins, 1 hashes" in cli("cache", "ls").out
    assert cli("cache", "verify").out == "3 of 3 entries are whole\n"

    (Path(kinds["wheels"]["path"]) / "text.txt").write_text("short")
    outcome = cli("cache", "verify")
    assert outcome.code == 1
    assert f"({TEXT}) is damaged: text.txt has 5 bytes instead of 935" in outcome.out
    assert "made again at their next use" in outcome.err
    again = cli("fetch", recipe)
    assert again.code == 0
    assert f"harness: the cached copy of {TEXT} was made again; it was damaged" in again.err

    removed = cli("cache", "rm", kinds["pins"]["key"][:8], "--kind", "wheels")
    assert removed.code == 2
    assert cli("cache", "rm", "--kind", "wheels").out.startswith("removed wheels/tiny-asset==1.0")
    assert cli("cache", "rm", kinds["pins"]["key"][:8]).code == 0
    assert [entry["kind"] for entry in json.loads(cli("cache", "ls", "--json").out)["entries"]] == [
        "hashes"
    ]
    assert cli("cache", "rm", "--all").code == 0
    assert "holds nothing" in cli("cache", "ls").out
    assert cli("cache", "rm", "--all").out == "there was nothing to remove\n"


def test_a_damaged_pin_is_found(cli, cache, wheel, recipe):
    cli("fetch", recipe)
    (pin,) = (cache / "pins").iterdir()
    pin.write_text(pin.read_text().replace('"sha256":"', '"sha256":"x'))
    outcome = cli("cache", "verify")
    assert outcome.code == 1
    assert f"pins/{pin.stem} is damaged" in outcome.out
