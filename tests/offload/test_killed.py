"""A compression of a model on disk that is killed at any stage goes on to the same artefact."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from harness.checkpoints.saved_record import read_saved_record
from harness.compression.block_checkpoints import block_checkpoints_beside
from tests.helpers.forking import finished
from tests.offload.compressing import compress, finished_blocks

BLOCKS = 6
KILLED = -signal.SIGKILL


@pytest.fixture
def start(fork, folder, texts, tmp_path):
    """``start(target, *more)``: ``harness compress --offload`` of a model with six blocks."""

    def start(target, *more, changes=None, blocks=None):
        asked = [
            *("compress", "--offload", "--model", folder("opt-deep"), "--save", target),
            *("--calibration", texts / "calibration.txt", "--samples", "4", "--length", "16"),
            *more,
        ]
        return fork(compress, asked, tmp_path / "log", target, changes, blocks)

    return start


def staging_of(target: Path) -> Path:
    return target.with_name(f".{target.name}.blocks")


def same(one: Path, two: Path) -> bool:
    """All but when and from which process it was written."""
    names = {path.name for path in one.iterdir()}
    assert names == {path.name for path in two.iterdir()}
    made = read_saved_record(one), read_saved_record(two)
    assert made[0].model_copy(update={"created": made[1].created}) == made[1]
    return all(
        (one / name).read_bytes() == (two / name).read_bytes()
        for name in names - {"record.json", "harness.json"}
    )


@pytest.mark.parametrize(("propagation", "first"), [("sequential", 1), ("original", 2)])
def test_killed_again_and_again_it_ends_with_the_same_artefact(propagation, first, start, tmp_path):
    options = ("--junction", "block-identity", "--propagation", propagation)
    undisturbed, target = tmp_path / "undisturbed", tmp_path / "killed"
    assert finished(start(undisturbed, *options)) == 0
    done = [0]
    changes = first
    while (code := finished(start(target, *options, changes=changes))) == KILLED:
        assert not (target / "harness.json").exists() or same(undisturbed, target)
        done.append(finished_blocks(target))
        changes += 3
    assert code == 0
    assert same(undisturbed, target)
    assert {path.name for path in tmp_path.iterdir()} == {"undisturbed", "killed", "log"}
    assert len([count for count in done if 0 < count < BLOCKS]) >= 2
    assert done.count(BLOCKS) >= 2  # while all was saved


def test_finished_blocks_are_not_made_again_and_damaged_ones_are(start, tmp_path):
    undisturbed, target = tmp_path / "undisturbed", tmp_path / "killed"
    assert finished(start(undisturbed)) == 0
    staging = staging_of(target)
    assert finished(start(target, blocks=4)) == KILLED
    files = sorted(staging.glob("*.safetensors"))[:4]
    damaged, foreign = files[1], files[2]
    damaged.write_bytes(damaged.read_bytes()[:-8])
    foreign.write_bytes(files[0].read_bytes())
    kept = files[0].stat().st_mtime_ns
    assert finished(start(target, blocks=5)) == KILLED
    assert files[0].stat().st_mtime_ns == kept
    assert finished(start(target)) == 0
    assert same(undisturbed, target)
    log = (tmp_path / "log").read_text()
    for path in (damaged, foreign):
        assert f"{path.stem} of {staging} is damaged; compressing it again" in log
    assert log.count("is damaged") == 2


def test_blocks_of_another_compression_are_not_taken(start, tmp_path):
    undisturbed, target = tmp_path / "undisturbed", tmp_path / "killed"
    assert finished(start(target, "--ratio", "0.5", blocks=2)) == KILLED
    assert finished(start(target)) == 0
    assert finished(start(undisturbed)) == 0
    assert same(undisturbed, target)
    assert "holds blocks of another compression; starting afresh" in (tmp_path / "log").read_text()


def test_a_staging_folder_that_is_something_else_is_left_alone(start, tmp_path):
    thesis = staging_of(tmp_path / "small") / "thesis.tex"
    thesis.parent.mkdir()
    thesis.write_text("mine")
    assert finished(start(tmp_path / "small")) == 2
    assert "holds something else; move it away" in (tmp_path / "log").read_text()
    assert thesis.read_text() == "mine"


def test_two_at_once_do_not_mix(start, tmp_path):
    target = tmp_path / "small"
    with block_checkpoints_beside(target):
        assert finished(start(target)) == 2
    assert "another process is saving to" in (tmp_path / "log").read_text()
    assert not target.exists()


def test_what_is_saved_is_not_made_again(start, tmp_path):
    target = tmp_path / "small"
    assert finished(start(target)) == 0
    before = (target / "record.json").stat().st_mtime_ns
    assert finished(start(target)) == 0
    assert (target / "record.json").stat().st_mtime_ns == before
    assert finished(start(target, "--ratio", "0.5")) == 2
    assert "holds a saved model; pass --force" in (tmp_path / "log").read_text()
