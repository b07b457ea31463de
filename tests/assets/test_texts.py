from __future__ import annotations

import gzip
import json
from pathlib import Path

import datasets
import pytest

from harness.assets import hub, texts
from harness.assets.aliases import TEXTS, Excerpt, HubText
from harness.assets.excerpts import documents_of, part
from harness.assets.texts import resolve_text
from harness.errors import AssetError, UsageError

TAGGED = (
    '<doc id="1" url="u" title="One">\nOne\n\nFirst body.\nMore.\n\n</doc>\n'
    '<doc id="2" url="u" title="Two">\nTwo\n\n\n\n</doc>\n'
    '<doc id="3" url="u" title="One">\nOne\n\nFirst body.\nMore.\n\n</doc>\n'
    '<doc id="4" url="u" title="Three">\nThree\n\nThird < body.\n\n</doc>\n'
)


def write_rows(path: Path, rows: list[dict[str, str]]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def test_tags_titles_without_a_page_and_repetitions_go() -> None:
    assert documents_of(TAGGED, tagged=True) == [
        "One\n\nFirst body.\nMore.",
        "Three\n\nThird < body.",
    ]


def test_lines_are_documents_where_nothing_is_tagged() -> None:
    assert documents_of("a b\n\nc\na b\n", tagged=False) == ["a b", "c"]


def test_the_parts_are_disjoint_complete_and_always_the_same() -> None:
    documents = [f"{n} " + "x" * (n * 37 % 101) for n in range(200)]
    calibration, evaluation = (part(documents, p) for p in ("calibration", "evaluation"))
    assert [*calibration, *evaluation] == documents
    assert not set(calibration) & set(evaluation)
    share = sum(map(len, calibration)) / sum(map(len, documents))
    assert 0.68 < share <= 0.7
    assert part(documents, "calibration") == calibration


def test_an_excerpt_gives_each_purpose_its_own_documents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "c4.utf8"
    file.write_text("\n".join(f"document {n}" for n in range(100)) + "\ndocument 3\n")
    monkeypatch.setattr(texts, "fetch_wheel_file", lambda *_: file)
    calibration = resolve_text("c4-excerpt", "calibration")
    evaluation = resolve_text("c4-excerpt", "evaluation")
    assert not set(calibration.documents) & set(evaluation.documents)
    assert len(calibration.documents) + len(evaluation.documents) == 100
    assert calibration.fingerprint != evaluation.fingerprint
    assert evaluation.revision == "exllamav2==0.3.2"


@pytest.mark.parametrize("name", ["a.txt", "a.utf8", "a.raw"])
def test_a_plain_file_is_one_document_kept_as_it_is(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_bytes("  héllo\r\n\n 你好\n".encode())
    asset = resolve_text(str(file), "evaluation")
    assert asset.documents == ("  héllo\r\n\n 你好\n",)
    assert asset.revision is None


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.json.gz"])
@pytest.mark.parametrize("field", ["text", "sentence", "page"])
def test_json_lines_are_documents(tmp_path: Path, name: str, field: str) -> None:
    file = write_rows(tmp_path / name, [{field: "one\u2028x"}, {field: ""}, {field: "two"}])
    assert resolve_text(str(file), "calibration").documents == ("one\u2028x", "", "two")


def test_parquet_rows_are_documents(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    datasets.Dataset.from_dict({"n": [1, 2], "sentence": ["a", "b"]}).to_parquet(file)
    assert resolve_text(str(file), "evaluation").documents == ("a", "b")


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("a.txt", b"", UsageError, "is empty"),
        ("a.txt", b" \n", UsageError, "is empty"),
        ("a.txt", b"\xff\xfe", UsageError, "not UTF-8"),
        ("a.jsonl", b'{"text": "a"}\n{oops\n', UsageError, "line 2 .* is no JSON"),
        ("a.json", b'["a", "b"]\n', UsageError, "line 1 .* has no text"),
        ("a.jsonl", b'{"body": "a"}\n', UsageError, "text or sentence or page"),
        (
            "a.json.gz",
            gzip.compress(b'{"text": "a"}' * 99, mtime=0)[:-20],
            AssetError,
            "cannot be read",
        ),
        ("a.parquet", b"PAR1 nothing", AssetError, "cannot be read"),
        ("a.pdf", b"x", UsageError, "not a known text file"),
    ],
)
def test_bad_files_are_explained(
    tmp_path: Path, name: str, content: bytes, error: type[Exception], message: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(error, match=message):
        resolve_text(str(file), "evaluation")


@pytest.mark.parametrize("name", ["data/missing.txt", "data/missing.TXT"])
def test_a_path_that_does_not_exist_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError, match="no such file"):
        resolve_text(name, "evaluation")


def test_a_misspelt_alias_gets_a_suggestion() -> None:
    with pytest.raises(UsageError, match="did you mean wikitext2"):
        resolve_text("wikitxt2", "evaluation")


def test_hub_rows_keep_their_order_and_their_empty_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "repository"
    for split, rows in {"train": ["a"], "test": ["", " = T = \n", "", "x\n"]}.items():
        target = repository / "wikitext-2-raw-v1" / f"{split}-00000-of-00001.parquet"
        target.parent.mkdir(parents=True, exist_ok=True)
        datasets.Dataset.from_dict({"text": rows}).to_parquet(target)
    (repository / "README.md").write_text(
        "---\nconfigs:\n- config_name: wikitext-2-raw-v1\n  data_files:\n"
        "  - split: train\n    path: wikitext-2-raw-v1/train-*\n"
        "  - split: test\n    path: wikitext-2-raw-v1/test-*\n---\n"
    )
    relocate(monkeypatch, "wikitext2", repository)
    asset = resolve_text("wikitext2", "evaluation")
    assert asset.documents == ("", " = T = \n", "", "x\n")
    assert asset.revision
    assert resolve_text("wikitext2", "calibration").documents == ("a",)


def test_ptb_comes_from_the_converted_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "repository"
    for split in ("train", "validation", "test"):
        target = repository / "penn_treebank" / split / "0000.parquet"
        target.parent.mkdir(parents=True)
        datasets.Dataset.from_dict({"sentence": [f"the {split} set"]}).to_parquet(target)
    relocate(monkeypatch, "ptb", repository)
    assert resolve_text("ptb", "calibration").documents == ("the train set",)
    assert resolve_text("ptb", "evaluation").documents == ("the test set",)


def test_c4_reads_one_file_for_each_purpose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "repository"
    row = {"timestamp": "2019-04-25T12:57:54Z", "url": "http://x"}
    for name in (
        "c4-train.00000-of-01024",
        "c4-train.00001-of-01024",
        "c4-validation.00000-of-00008",
    ):
        write_rows(repository / "en" / f"{name}.json.gz", [{"text": name, **row}])
    relocate(monkeypatch, "c4", repository)
    assert resolve_text("c4", "calibration").documents == ("c4-train.00000-of-01024",)
    assert resolve_text("c4", "evaluation").documents == ("c4-validation.00000-of-00008",)


def test_a_hub_dataset_may_name_configuration_split_and_revision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[HubText] = []

    def load(text: HubText, *_: str) -> tuple[list[str], str]:
        seen.append(text)
        return ["x"], "commit"

    monkeypatch.setattr(texts, "load_rows", load)
    for reference in ("a/b", "a/b:c", "a/b:c:validation@v1", "a/b::train@refs/convert/parquet"):
        assert resolve_text(reference, "evaluation").revision == "commit"
    loaded = [(t.config, t.splits["evaluation"], t.revision) for t in seen]
    assert loaded == [
        (None, "test", None),
        ("c", "test", None),
        ("c", "validation", "v1"),
        (None, "train", "refs/convert/parquet"),
    ]


@pytest.mark.parametrize(
    ("purpose", "instead"),
    [("evaluation", "--tasks wikitext2=PATH"), ("calibration", "--calibration c4-excerpt")],
)
def test_an_unreachable_hub_says_what_to_pass_instead(
    monkeypatch: pytest.MonkeyPatch, purpose: texts.Purpose, instead: str
) -> None:
    class ConnectError(Exception):
        pass

    def fail(*_: object, **__: object) -> None:
        raise ConnectError("[Errno -2] Name or service not known")

    monkeypatch.setattr(hub.HfApi, "dataset_info", fail)
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(AssetError) as caught:
        resolve_text("wikitext2", purpose)
    message = str(caught.value)
    assert "the text 'wikitext2'" in message
    assert "the hub cannot be reached" in message
    assert instead in message


def test_an_excerpt_is_not_offered_in_place_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str, instead: str) -> Path:
        raise AssetError(f"pass {instead} instead")

    monkeypatch.setattr(texts, "fetch_wheel_file", fail)
    with pytest.raises(AssetError, match=r"pass a local file \(--calibration PATH\) instead"):
        resolve_text("c4-excerpt", "calibration")


def relocate(monkeypatch: pytest.MonkeyPatch, alias: str, repository: Path) -> None:
    known = TEXTS[alias]
    assert not isinstance(known, Excerpt)
    moved = HubText(str(repository), known.splits, known.config, known.files, known.revision)
    monkeypatch.setitem(TEXTS, alias, moved)
