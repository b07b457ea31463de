"""What changed between two records, and why."""

from __future__ import annotations

import json
import math

import pytest

from harness.cli.main import main
from harness.records import store
from harness.records.diff import causes, difference, folder_difference
from harness.records.observations import Unpaired
from harness.records.paired_tests import Paired
from harness.records.results import Caution, Sample
from harness.records.spec import CalibrationSpec
from tests.helpers.board_records import answers, dense, make_record


def measured(losses, **changes):
    record = make_record(math.exp(sum(losses) / len(losses)), n=len(losses), **changes)
    samples = tuple(
        Sample(id=str(i), values={"nll": x, "tokens": 2047}) for i, x in enumerate(losses)
    )
    return record.model_copy(
        update={"result": record.result.model_copy(update={"samples": samples})}
    )


def with_environment(record, **changes):
    environment = record.environment.model_copy(update=changes)
    return record.model_copy(update={"environment": environment})


def test_a_record_does_not_differ_from_itself():
    record = measured([3.0, 3.1])
    found = difference(record, record)
    assert (found.changes, found.causes) == ((), ())
    assert isinstance(found.paired, Paired)
    assert found.paired.changed == 0


@pytest.mark.parametrize(
    ("changes", "kind", "what"),
    [
        ({"fingerprint": "x" * 40}, "weights", "fingerprint"),
        ({"model": "facebook/opt-2.7b"}, "weights", "model"),
        ({"notes": ("dequantised",)}, "weights", "notes"),
        ({"method": "svd"}, "method", "name"),
        ({"options": {"damping": 0.1}}, "method", "damping"),
        ({"ratio": 0.4}, "method", "ratio"),
        ({"scope": "all"}, "method", "scope"),
        ({"data_fingerprint": "x"}, "data", "fingerprint"),
        ({"task_options": {"window": 7}}, "protocol", "window"),
        ({"limit": 3}, "protocol", "limit"),
        ({"seed": 3}, "protocol", "evaluation seed"),
        ({"dtype": "bfloat16"}, "precision", "dtype"),
        ({"calibration_fingerprint": "x"}, "calibration", "fingerprint"),
        (
            {"calibration": CalibrationSpec(text="c4", samples=64, length=2048, seed=1)},
            "calibration",
            "seed",
        ),
    ],
)
def test_each_cause_is_found_alone(changes, kind, what):
    found = list(causes(make_record(), make_record(**changes)))
    assert [(cause.kind, cause.what) for cause in found] == [(kind, what)]


@pytest.mark.parametrize(
    ("changes", "kind", "what", "values"),
    [
        ({"commit": "c" * 40}, "code", "commit", ("", "c" * 40)),
        ({"dirty": True}, "code", "uncommitted", ("", "True")),
        ({"harness": "0.2.0"}, "code", "harness", ("0.1.0", "0.2.0")),
        ({"packages": {"torch": "2.14.0"}}, "versions", "torch", ("2.13.0", "2.14.0")),
        ({"packages": {}}, "versions", "torch", ("2.13.0", "")),
        ({"device": "cuda"}, "device", "device", ("cpu", "cuda")),
        ({"threads": 8}, "device", "threads", ("2", "8")),
        ({"offloaded": True}, "device", "blocks on disk", ("", "True")),
    ],
)
def test_each_part_of_the_environment_is_a_cause(changes, kind, what, values):
    record = make_record()
    (cause,) = causes(record, with_environment(record, **changes))
    assert cause == (kind, what, *values)


def test_the_other_way_round_everything_changes_places():
    a, b = measured([3.0, 3.2, 3.1]), measured([3.1, 3.2, 3.5], method="svd")
    one, other = difference(a, b), difference(b, a)
    assert one.paired.effect == pytest.approx(-other.paired.effect)
    assert [(c.a, c.b) for c in one.changes] == [(c.b, c.a) for c in other.changes]
    assert [(c.a, c.b) for c in one.causes] == [(c.b, c.a) for c in other.causes]


def test_results_on_other_data_are_not_paired():
    found = difference(measured([3.0, 3.1]), measured([3.0, 3.2], data_fingerprint="x"))
    assert found.paired == Unpaired("the data differ")


def test_a_failed_record_has_no_pair():
    failed = make_record(status="failed", error="out of memory", run_id="gone")
    found = difference(make_record(), failed)
    assert found.paired == Unpaired("gone has no result")
    assert ("outcome", "error", "", "out of memory") in found.causes


def test_slices_that_changed_are_listed():
    a = answers(0.5, slices={"NAT": 0.4, "SOC": 0.3})
    b = answers(0.5, slices={"NAT": 0.6, "SOC": 0.3})
    assert [(c.part, c.a, c.b) for c in difference(a, b).changes] == [("NAT", 0.4, 0.6)]


def test_folders_are_paired_cell_by_cell():
    a = [measured([3.0, 3.1]), make_record(ratio=0.1), dense()]
    b = [measured([3.3, 3.4]), make_record(ratio=0.2), dense()]
    found = folder_difference(a, [with_environment(one, threads=8) for one in b])
    assert {pair.b.spec.ratio for pair in found.pairs} == {0.3, 0.0}
    assert [one.spec.ratio for one in (*found.only_a, *found.only_b)] == [0.1, 0.2]
    assert [cause.what for cause in found.common_causes] == ["threads"]


@pytest.fixture
def saved(tmp_path):
    for name, losses in (("a", [3.0, 3.2, 3.1, 3.0]), ("b", [3.1, 3.2, 3.4, 3.6])):
        store.save(measured(losses, run_id="cell"), tmp_path / name)
    return tmp_path


def test_the_command_says_what_changed_and_that_chance_is_left(saved, capsys):
    files = [str(saved / name / "cell.json") for name in "ab"]
    assert main(["diff", *files]) == 0
    text = capsys.readouterr().out
    assert "x 1.284" in text  # exp of the mean difference 0.25
    assert "nothing recorded differs" in text
    assert main(["diff", str(saved / "a"), str(saved / "b")]) == 0
    assert "x 1.284" in capsys.readouterr().out


def test_the_command_as_json(saved, capsys):
    assert main(["diff", "--json", str(saved / "a"), str(saved / "b")]) == 0
    (pair,) = json.loads(capsys.readouterr().out)["pairs"]
    assert pair["paired"]["effect"] == pytest.approx(0.25)
    assert pair["causes"] == []


def test_the_command_as_markdown(saved, capsys):
    other = with_environment(measured([3.1, 3.2, 3.4, 3.5], run_id="cell"), device="a|b")
    store.save(other, saved / "c")
    store.save(measured([3.0], run_id="more", method="svd"), saved / "c")
    assert main(["diff", "--markdown", str(saved / "a"), str(saved / "b")]) == 0
    assert "nothing recorded differs" in capsys.readouterr().out
    assert main(["diff", "--markdown", str(saved / "a"), str(saved / "c")]) == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert [line for line in lines if line.startswith("#")] == [
        "### what changed",
        "### why they may differ",
    ]
    assert "\n\nonly in B: facebook/opt-1.3b svd 0.3 on wikitext2 (more)\n\n" in text
    tables = [line for line in lines if line.startswith("|")]
    assert [line.count("|") for line in tables] == [8, 8, 8, 5, 5, 5]
    assert tables[-1] == "| device | device | cpu | a&#124;b |"


def test_a_folder_and_a_record_are_refused(saved, capsys):
    assert main(["diff", str(saved / "a"), str(saved / "b" / "cell.json")]) == 2
    assert "pass two of a kind" in capsys.readouterr().err


def seen(record, *cautions):
    return record.model_copy(
        update={"result": record.result.model_copy(update={"cautions": cautions})}
    )


def test_cautions_are_listed_where_they_differ(tmp_path, capsys):
    cut = {"kind": "prompts cut", "effect": "changes the number"}
    few, many = (Caution(count=n, text=f"{n} of 9 prompts were cut", **cut) for n in (2, 7))
    same = Caution(kind="padding", effect="advice", count=1, text="no padding token")
    long = Caution(kind="long answers", effect="advice", count=1, text="1 of 9 answers ended")
    record = measured([3.0, 3.1])
    a, b = seen(record, few, same), seen(record, many, same, long)
    assert list(causes(a, b)) == [
        ("seen while measured", "prompts cut", f"changes the number: {few.text}",
         f"changes the number: {many.text}"),
        ("seen while measured", "long answers", "", "advice: 1 of 9 answers ended"),
    ]  # fmt: skip
    assert list(causes(a, a)) == []
    both = few.model_copy(update={"effect": "advice"})
    ((*_, after),) = causes(record, seen(record, few, both))
    assert after == f"{few}; {both}"
    for name, one in (("a", a), ("b", b)):
        store.save(one.model_copy(update={"run_id": name * 16}), tmp_path)
    paths = [str(tmp_path / f"{name * 16}.json") for name in "ab"]
    assert main(["diff", *paths, "--markdown"]) == 0
    assert "changes the number: 7 of 9 prompts were cut" in capsys.readouterr().out
