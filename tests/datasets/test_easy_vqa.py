from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from harness.assets import archives, cache, installers, pins
from harness.assets.archives import fetch_archive, members_sha256
from harness.datasets import easy_vqa
from harness.errors import AssetError, InfrastructureError

QUESTIONS = {
    "train": [["what color is the shape?", "blue", 0], ["is there a red shape?", "no", 1]],
    "test": [["what shape is present?", "circle", 0]],
}
COLOURS = {("train", 0): (0, 0, 255), ("train", 1): (0, 128, 128), ("test", 0): (9, 9, 9)}


def stand_in() -> dict[str, bytes]:
    members = {}
    for split, questions in QUESTIONS.items():
        folder = f"{easy_vqa.FOLDER}{split}"
        members[f"{folder}/questions.json"] = json.dumps(questions).encode()
    for (split, number), colour in COLOURS.items():
        stream = io.BytesIO()
        Image.new("RGBA", (64, 64), (*colour, 255)).save(stream, "PNG")
        members[f"{easy_vqa.FOLDER}{split}/images/{number}.png"] = stream.getvalue()
    return members


def make_wheel(folder: Path, members: dict[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    wheel = folder / "easy_vqa-1.0-py3-none-any.whl"
    info = "easy_vqa-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: easy-vqa\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return wheel


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "links"))
    monkeypatch.delenv("UV", raising=False)
    members = stand_in()
    monkeypatch.setitem(pins.ARCHIVES, pins.EASY_VQA, members_sha256(members.items()))
    return make_wheel(tmp_path / "links", members)


@pytest.mark.usefixtures("wheel")
def test_rows_are_the_questions_in_order():
    rows = easy_vqa.rows("train")
    assert [(row.id, row.question, row.answer) for row in rows] == [
        (0, "what color is the shape?", "blue"),
        (1, "is there a red shape?", "no"),
    ]
    assert [row.answer for row in easy_vqa.rows("test")] == ["circle"]
    assert rows[-1].id == 1
    assert [row.id for row in rows[1:]] == [1]
    with pytest.raises(IndexError):
        rows[2]


@pytest.mark.usefixtures("wheel")
def test_pictures_are_opened_when_asked_for_and_rgb():
    row = easy_vqa.rows("train")[1]
    assert "image" not in vars(row)
    assert row.image.mode == "RGB"
    assert row.image.getpixel((5, 5)) == COLOURS["train", 1]
    assert easy_vqa.rows("test")[0].image.getpixel((5, 5)) == COLOURS["test", 0]


def test_the_wheel_is_fetched_once(wheel):
    easy_vqa.rows("train")
    wheel.unlink()
    assert len(easy_vqa.rows("train")) == 2


def test_another_wheel_than_the_pinned_one_is_refused(wheel, monkeypatch):
    monkeypatch.setitem(pins.ARCHIVES, pins.EASY_VQA, "0" * 64)
    with pytest.raises(AssetError, match=r"has changed: expected SHA-256 0+ .* leave easy-vqa out"):
        easy_vqa.rows("train")


@pytest.mark.parametrize("content", [b"", b"no zip"])
def test_a_damaged_copy_is_fetched_again_with_a_notice(wheel, caplog, content):
    before = easy_vqa.rows("train")[0]
    copy = cache.cache_root() / "archives" / pins.EASY_VQA / "archive.zip"
    copy.write_bytes(content)
    easy_vqa._open.cache_clear()
    assert easy_vqa.rows("train")[0].question == before.question
    assert "the cached copy of easy-vqa==1.0 was made again; it was damaged" in caplog.text
    wheel.unlink()
    copy.write_bytes(content)
    with pytest.raises(AssetError, match=r"is damaged: .* cannot be made again: cannot fetch"):
        easy_vqa.rows("train")


def test_the_pictures_are_hashed_only_when_they_are_fetched(wheel, monkeypatch):
    easy_vqa.rows("train")
    monkeypatch.setattr(archives, "members_sha256", lambda _: pytest.fail("hashed again"))
    assert easy_vqa.rows("test")


def test_a_wheel_that_cannot_be_had_says_what_to_do(wheel):
    wheel.unlink()
    with pytest.raises(AssetError, match=r"cannot fetch 'easy-vqa==1\.0': .*; leave easy-vqa out"):
        easy_vqa.rows("train")


def test_files_unpacked_by_the_installer_serve_as_well(wheel, monkeypatch):
    def unpack(requirement: str, folder: Path, what: str, instead: str) -> None:
        shutil.unpack_archive(wheel, folder, "zip")

    monkeypatch.setattr(archives, "fetch_wheel", unpack)
    assert easy_vqa.rows("train")[0].image.getpixel((0, 0)) == COLOURS["train", 0]


@pytest.mark.usefixtures("wheel")
def test_a_full_disk_is_said(monkeypatch):
    monkeypatch.setattr(installers, "_run", lambda _: "[Errno 28] No space left on device")
    with pytest.raises(InfrastructureError, match="no space left for the cache"):
        fetch_archive(pins.EASY_VQA, easy_vqa.FOLDER, "do without")


def test_names_count_and_order_does_not():
    members = [("a", b"1"), ("b", b"2")]
    assert members_sha256(members) == members_sha256(reversed(members))
    assert members_sha256(members) != members_sha256([("a", b"2"), ("b", b"1")])
