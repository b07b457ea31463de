"""Reading questions: every local form gives the same rows, and trouble is named."""

from __future__ import annotations

import json

import datasets
import pytest
from PIL import Image

from harness.assets.aliases import HubText
from harness.errors import AssetError, UsageError
from harness.questions.local import read_local
from harness.questions.pictures import UnreadableImageError
from harness.questions.source import HubQuestions
from tests.helpers import question_files as files

ROWS = [
    files.science(question="with a picture", image="images/0.png"),
    files.science(question="in words"),
    files.science(question="with another", image="images/2.png"),
]


@pytest.fixture
def folder(tmp_path):
    files.save_picture(tmp_path / "images/0.png", files.RED)
    files.save_picture(tmp_path / "images/2.png", files.BLUE)
    return tmp_path


def as_lines(folder):
    return files.save_lines(folder / "questions.jsonl", ROWS)


def as_folder_of_lines(folder):
    return as_lines(folder).parent


def as_parquet(folder):
    files.table(folder, ROWS).to_parquet(folder / "questions.parquet")
    return folder / "questions.parquet"


def as_plain_parquet(folder):
    """Without what ``datasets`` writes about its columns."""
    frame = files.table(folder, ROWS).cast_column("image", datasets.Image(decode=False)).to_pandas()
    frame.to_parquet(folder / "plain.parquet")
    return folder / "plain.parquet"


def as_shards(folder):
    table = files.table(folder, ROWS)
    (folder / "repository/Full").mkdir(parents=True)
    for index, rows in enumerate(([0, 1], [2])):
        name = f"test-0000{index}-of-00002.parquet"
        table.select(rows).to_parquet(folder / "repository/Full" / name)
    table.to_parquet(folder / "repository/Full/train-00000-of-00001.parquet")
    return folder / "repository"


def as_saved(folder):
    files.table(folder, ROWS).save_to_disk(folder / "saved")
    return folder / "saved"


def as_saved_splits(folder):
    table = files.table(folder, ROWS)
    splits = datasets.DatasetDict({"train": table.select([1]), "test": table})
    splits.save_to_disk(folder / "splits")
    return folder / "splits"


FORMS = [
    as_lines,
    as_folder_of_lines,
    as_parquet,
    as_plain_parquet,
    as_shards,
    as_saved,
    as_saved_splits,
]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_rows(form, folder):
    found = read_local(form(folder), "test", "Full", "mine")
    assert found.reference == "mine"
    assert found.columns == set(ROWS[0])
    assert [row["question"] for row in found.rows] == [row["question"] for row in ROWS]
    assert found.rows[0]["choices"] == ROWS[0]["choices"]
    assert found.rows[1]["image"] is None
    colours = [found.rows[index]["image"].open().getpixel((0, 0)) for index in (0, 2)]
    assert colours == [files.RED, files.BLUE]


@pytest.mark.parametrize("form", FORMS)
def test_the_fingerprint_follows_images_and_questions(form, folder, tmp_path_factory):
    def fingerprint(colour, rows):
        place = tmp_path_factory.mktemp("copy")
        files.save_picture(place / "images/0.png", colour)
        files.save_picture(place / "images/2.png", files.BLUE)
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(globals(), "ROWS", rows)
            return read_local(form(place), "test", "Full", "mine").fingerprint

    first = fingerprint(files.RED, ROWS)
    assert first == fingerprint(files.RED, ROWS)
    assert first != fingerprint(files.BLUE, ROWS)
    assert first != fingerprint(files.RED, [files.science(question="new"), *ROWS[1:]])


@pytest.mark.parametrize("form", [as_parquet, as_saved, as_lines])
def test_images_are_read_when_opened(form, folder, monkeypatch):
    opened = []
    monkeypatch.setattr(Image, "open", lambda *_: opened.append(1) or Image.new("RGB", (2, 2)))
    found = read_local(form(folder), "test", None, "mine")
    rows = list(found.rows)
    assert not opened
    rows[0]["image"].open()
    assert len(opened) == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"question": ', "line 2 of .* is no JSON"),
        ("[1, 2]", "line 2 of .* is no JSON object"),
        ('{"image": 3}', "line 2 of .*: 'image' must be a path or null, not 3"),
        ('{"image": {"bytes": "x"}}', "line 2 of .*: 'image' must be a path or null"),
    ],
)
def test_broken_lines_are_named(line, said, tmp_path):
    path = tmp_path / "questions.jsonl"
    path.write_text(f"{json.dumps(files.science())}\n{line}\n")
    with pytest.raises(UsageError, match=said):
        read_local(path, "test", None, "mine")


def test_lines_may_start_with_a_mark_and_have_gaps(tmp_path):
    path = tmp_path / "questions.jsonl"
    path.write_text(f"\n{json.dumps(files.science())}\n\n", encoding="utf-8-sig")
    assert len(read_local(path, "test", None, "mine").rows) == 1


def test_text_that_is_not_utf8(tmp_path):
    path = tmp_path / "questions.jsonl"
    path.write_bytes(b'{"question": "caf\xe9"}')
    with pytest.raises(UsageError, match="is not UTF-8"):
        read_local(path, "test", None, "mine")


def test_a_moved_image_folder_is_an_error(folder):
    path = as_lines(folder)
    (folder / "images").rename(folder / "elsewhere")
    with pytest.raises(UsageError, match=r"question 0 needs .*images/0\.png"):
        read_local(path, "test", None, "mine")


def test_one_missing_image_is_found_out_when_it_is_opened(folder):
    path = as_lines(folder)
    whole = read_local(path, "test", None, "mine").fingerprint
    (folder / "images/2.png").unlink()
    found = read_local(path, "test", None, "mine")
    assert found.fingerprint != whole
    assert found.rows[0]["image"].open().size == (6, 4)
    with pytest.raises(UnreadableImageError, match=r"images/2\.png .* no such file"):
        found.rows[2]["image"].open()


@pytest.mark.parametrize("name", ["questions.parquet", "saved/data-00000-of-00001.arrow"])
def test_damaged_tables(name, folder):
    as_parquet(folder)
    as_saved(folder)
    broken = folder / name
    broken.write_bytes(broken.read_bytes()[:100])
    path = broken if broken.suffix == ".parquet" else broken.parent
    with pytest.raises(AssetError, match=f"{path} is damaged"):
        read_local(path, "test", None, "mine")


def test_a_table_without_images(tmp_path):
    datasets.Dataset.from_dict({"question": ["q"]}).to_parquet(tmp_path / "q.parquet")
    with pytest.raises(UsageError, match="no column 'image'; it has question"):
        read_local(tmp_path / "q.parquet", "test", None, "mine")


def test_a_table_that_only_names_its_images(tmp_path):
    rows = {"image": [{"path": "x.png", "bytes": None}, {"path": None, "bytes": None}]}
    datasets.Dataset.from_dict(rows).to_parquet(tmp_path / "q.parquet")
    for row in read_local(tmp_path / "q.parquet", "test", None, "mine").rows:
        with pytest.raises(UnreadableImageError, match=r"row . of mine .* holds no bytes"):
            row["image"].open()


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "holds no questions"),
        (["a.jsonl", "b.jsonl"], r"holds a\.jsonl, b\.jsonl; pass one of them"),
        (["test1.jsonl", "test2.jsonl"], "several files"),
        (["notes.txt"], "holds no questions"),
    ],
)
def test_folders_that_leave_open_what_to_read(names, said, tmp_path):
    for name in names:
        files.save_lines(tmp_path / name, ROWS[1:2])
    with pytest.raises(UsageError, match=said):
        read_local(tmp_path, "test", None, "mine")


def test_a_folder_with_several_splits(tmp_path):
    for split in ("train", "test"):
        files.save_lines(tmp_path / f"{split}.jsonl", [files.science(question=split)])
    for split in ("train", "test"):
        found = read_local(tmp_path, split, None, "mine")
        assert [row["question"] for row in found.rows] == [split]


def test_saved_splits_without_the_one_wanted(folder):
    with pytest.raises(UsageError, match="no split 'validation'"):
        read_local(as_saved_splits(folder), "validation", None, "mine")


def test_other_files_are_refused(tmp_path):
    (tmp_path / "q.csv").write_text("question\n")
    with pytest.raises(UsageError, match="is no file of questions; pass JSON lines"):
        read_local(tmp_path / "q.csv", "test", None, "mine")


def hub_questions(repository):
    return HubQuestions(
        HubText(
            str(repository),
            splits={"calibration": "train", "evaluation": "test"},
            files={"calibration": "**/train-*.parquet", "evaluation": "**/test-*.parquet"},
        )
    )


def test_the_hub_is_read_split_by_split(folder):
    source = hub_questions(as_shards(folder))
    tests, training = source("name", None, "evaluation"), source("name", None, "calibration")
    assert len(tests.rows) == len(training.rows) == len(ROWS)
    assert tests.rows[2]["image"].open().getpixel((0, 0)) == files.BLUE
    assert tests.revision is not None
    assert tests.fingerprint != training.fingerprint


def test_an_unreachable_hub_names_what_to_pass(monkeypatch):
    def fail(*args, **options):
        raise ConnectionError("ConnectError: no network")

    monkeypatch.setattr(datasets, "load_dataset_builder", fail)
    with pytest.raises(AssetError, match=r"scienceqa=PATH\) or mini-scienceqa"):
        hub_questions("lmms-lab/ScienceQA")("scienceqa", None, "evaluation")


def test_data_may_be_another_repository(monkeypatch):
    asked = []

    def load(source, purpose, what, instead):
        asked.append((source.repository, source.revision, purpose))
        return datasets.Dataset.from_dict({"image": [None]}), "commit"

    monkeypatch.setattr("harness.questions.source.load_split", load)
    found = hub_questions("lmms-lab/ScienceQA")("scienceqa", "other/copy@v1", "evaluation")
    assert asked == [("other/copy", "v1", "evaluation")]
    assert (found.reference, found.revision) == ("other/copy@v1", "commit")
    with pytest.raises(UsageError, match="'nothing' is neither a file"):
        hub_questions("lmms-lab/ScienceQA")("scienceqa", "nothing", "evaluation")
    with pytest.raises(UsageError, match="no such file"):
        hub_questions("lmms-lab/ScienceQA")("scienceqa", "gone.jsonl", "evaluation")


def test_bytes_of_a_table_may_be_broken(folder):
    (folder / "images/0.png").write_bytes(b"no picture")
    found = read_local(as_parquet(folder), "test", None, "mine")
    with pytest.raises(UnreadableImageError, match="the image in row 0 of mine"):
        found.rows[0]["image"].open()
    assert found.rows[2]["image"].open().size == (6, 4)
