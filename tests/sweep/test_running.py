"""Which cells a sweep runs, and what it shows, with workers in this process."""

from __future__ import annotations

import errno
import io
import json
import os
import re
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from rich.console import Console

from harness.cli.main import main
from harness.errors import UsageError
from harness.experiments import shared_statistics
from harness.experiments.runner import run, run_plan
from harness.sweep.cell import do_job
from harness.sweep.display import Board
from harness.sweep.engines.engine import Ended, Started
from harness.sweep.engines.local import LocalEngine, LocalEngineConfig
from harness.sweep.job import ANSWER, JOB, Answer
from harness.sweep.recipe_file import read_recipe, requests
from harness.sweep.running import CellUpdate, Workers, run_cells
from harness.sweep.status import cell_statuses
from tests.sweep.values import leftovers, values

TASK = re.compile('"data":"([^"]+)"')


class InThisProcess:
    """An engine whose answers may be made up: by default those of the work itself."""

    summary = "here"
    config = LocalEngineConfig

    def __init__(self, answers=None):
        self.answers = answers
        self.jobs = []

    def run(self, jobs, workers, devices, config, folder):
        for position, job in enumerate(jobs):
            self.jobs.append(job)
            yield Started(position, 1)
            if self.answers:
                yield Ended(position, ANSWER.dump_json(self.answers.pop(0)).decode())
            else:
                yield Ended(position, do_job(job, None))


def sweep(recipe, output, engine, **options):
    entries = cell_statuses(requests(read_recipe(recipe), output))
    shown = []
    options = {"retry_failed": False, "show": shown.append} | options
    return run_cells(entries, output, Workers(engine, LocalEngineConfig()), **options), shown


METHODS = """
  - {name: latentllm, options: {propagation: original, iterations: 1}}
  - {name: asvd-l2, options: {propagation: sequential}}"""


def test_methods_and_ratios_share_one_calibration_and_nothing_of_it_stays(
    small_recipe, tmp_path, monkeypatch
):
    recipe, output = small_recipe("[0.3, 0.5]"), tmp_path / "results"
    text = recipe.read_text()
    recipe.write_text(
        text.replace("methods: [", "methods:\n  - ").replace("}}]\n", "}}" + METHODS + "\n", 1)
    )
    collected = []
    real = shared_statistics.collect

    def counted(*arguments, **named):
        collected.append(1)
        return real(*arguments, **named)

    monkeypatch.setattr(shared_statistics, "collect", counted)
    ends, _ = sweep(recipe, output, InThisProcess())
    assert [end.state for end in ends] == ["complete"] * 7
    assert len(collected) == 1
    assert leftovers(output) == set()
    alone = tmp_path / "alone"
    for request in requests(read_recipe(recipe), alone):
        run(request)
    assert values(output) == values(alone)


def test_finished_cells_are_not_run_again_whatever_the_clock_says(small_recipe, tmp_path):
    recipe, output = small_recipe(), tmp_path / "results"
    first, _ = sweep(recipe, output, InThisProcess())
    for path in output.glob("*.json"):
        os.utime(path, (0, 0))
    engine = InThisProcess()
    again, shown = sweep(recipe, output, engine)
    assert again == first == shown
    assert engine.jobs == []


def test_a_clock_that_jumps_back_breaks_nothing(small_recipe, tmp_path, monkeypatch):
    class Backwards:
        year = 2030

        @classmethod
        def now(cls, zone):
            cls.year -= 10
            return real(cls.year, 1, 1, tzinfo=zone)

    names = run_plan.__globals__
    real = names["datetime"]
    monkeypatch.setitem(names, "datetime", Backwards)
    ends, _ = sweep(small_recipe("[0.1, 0.3]"), tmp_path / "results", InThisProcess())
    assert [end.state for end in ends] == ["complete"] * 3
    assert Backwards.year == 2000


def test_cells_that_another_sweep_is_at_come_last(small_recipe, tmp_path):
    answers = [Answer("busy"), Answer("complete"), Answer("complete")]
    engine = InThisProcess(answers)
    ends, shown = sweep(small_recipe(), tmp_path / "results", engine)
    assert [end.state for end in ends] == ["complete", "complete"]
    assert [change.position for change in shown if change.state == "running"] == [0, 1, 0]
    assert ['"wait":true' in job for job in engine.jobs] == [False, False, True]


def test_what_cannot_be_fetched_fails_its_cells_alone(small_recipe, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    recipe = small_recipe()
    recipe.write_text(recipe.read_text().replace("models: [", "models: [acme/absent, "))
    ends, _ = sweep(recipe, tmp_path / "results", InThisProcess())
    states = [end.state for end in ends]
    assert sorted(states) == ["complete", "complete", "failed", "failed"]
    assert "acme/absent" in ends[states.index("failed")].error


def needs(library: str) -> tuple[pytest.MarkDecorator, ...]:
    """Marks of what only runs where an extra has installed ``library``."""
    absent = find_spec(library) is None
    return pytest.mark.extras, pytest.mark.skipif(absent, reason=f"needs {library}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", "0"], "--workers: 0 is outside its range: 1 to"),
        (["--devices", "gpu"], "'gpu' is no torch device"),
        (["--engine", "locale"], "did you mean local"),
        (["--engine-option", "cpus"], "'cpus' is no NAME=VALUE"),
        (["--engine-option", "cpus=2"], "unknown option of engine 'local' 'cpus'"),
        pytest.param(
            ["--engine", "slurm", "--engine-option", "tiem=5"],
            "did you mean time",
            marks=needs("submitit"),
        ),
        pytest.param(
            ["--engine", "ray", "--engine-option", "cpus=0"],
            "option 'cpus' of engine 'ray'",
            marks=needs("ray"),
        ),
    ],
)
def test_wrong_options_are_said_before_any_work(small_recipe, tmp_path, capsys, options, message):
    output = tmp_path / "results"
    assert main(["sweep", str(small_recipe()), "--output", str(output), *options]) == 2
    assert message in capsys.readouterr().err
    assert not output.exists()


def test_a_device_of_the_recipe_that_is_none_is_said_before_any_work(
    small_recipe, tmp_path, capsys
):
    recipe = small_recipe()
    recipe.write_text(recipe.read_text() + "\ndevice: gpu\n")
    assert main(["sweep", str(recipe), "--output", str(tmp_path / "results")]) == 2
    assert "'gpu' is no torch device" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_a_folder_that_cannot_be_written_is_said_before_any_work(
    small_recipe, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(LocalEngine, "run", lambda *_: pytest.fail("no work without a folder"))
    (tmp_path / "file").touch()
    assert main(["sweep", str(small_recipe()), "--output", str(tmp_path / "file")]) == 3
    assert "choose another folder" in capsys.readouterr().err


def test_a_record_edited_by_hand_stops_the_sweep(small_recipe, tmp_path, capsys):
    recipe, output = small_recipe(), tmp_path / "results"
    sweep(recipe, output, InThisProcess())
    path = min(output.glob("*.json"))
    path.write_text(path.read_text().replace('"status": "complete"', '"status": "failed"'))
    assert main(["sweep", str(recipe), "--output", str(output)]) == 2
    error = capsys.readouterr().err
    assert str(path) in error
    assert "changed after it was written" in error


def test_a_record_of_a_newer_version_stops_the_sweep(small_recipe, tmp_path, capsys):
    recipe, output = small_recipe(), tmp_path / "results"
    sweep(recipe, output, InThisProcess())
    path = min(output.glob("*.json"))
    newer = json.loads(path.read_text()) | {"schema_version": 99, "something": "new"}
    path.write_text(json.dumps(newer))
    assert main(["sweep", str(recipe), "--output", str(output)]) == 2
    error = capsys.readouterr().err
    assert f"{path}: written in schema version 99" in error
    assert "upgrade harness" in error


class OnAnotherMachine(InThisProcess):
    """Its workers see the files of this machine, but not its folder of records."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def run(self, jobs, workers, devices, config, folder):
        there = [JOB.validate_json(job) for job in jobs]
        moved = [
            JOB.dump_json(replace(one, request=replace(one.request, output=self.folder)))
            for one in there
        ]
        return super().run(moved, workers, devices, config, folder)


def test_records_of_a_machine_without_the_folder_travel_back(small_recipe, tmp_path):
    recipe, output, there = small_recipe("[0.3, 0.999]"), tmp_path / "results", tmp_path / "there"
    ends, _ = sweep(recipe, output, OnAnotherMachine(there))
    assert [end.state for end in ends] == ["complete", "complete", "failed"]
    assert values(output) == values(there)
    before = {path.name: path.read_bytes() for path in output.glob("*.json")}
    assert before == {path.name: path.read_bytes() for path in there.glob("*.json")}
    failed = ends[2].error
    again, _ = sweep(recipe, output, OnAnotherMachine(tmp_path / "third"), retry_failed=True)
    assert again[2].error == failed
    after = {path.name: path.read_bytes() for path in output.glob("*.json")}
    (changed,) = (name for name in after if after[name] != before[name])
    assert after[changed] == (tmp_path / "third" / changed).read_bytes()


def test_a_worker_that_found_other_data_is_told_apart(small_recipe, tmp_path, texts):
    class OtherData(InThisProcess):
        def run(self, jobs, workers, devices, config, folder):
            # As on a machine whose file of that name holds another text.
            data = Path(TASK.search(jobs[0])[1])
            data.write_text(data.read_text() + " and more words than before")
            return super().run(jobs, workers, devices, config, folder)

    recipe = small_recipe()
    own = tmp_path / "own.txt"
    own.write_text((texts / "evaluation.txt").read_text())
    recipe.write_text(recipe.read_text().replace(str(texts / "evaluation.txt"), str(own)))
    ends, _ = sweep(recipe, tmp_path / "results", OtherData())
    assert [end.state for end in ends] == ["failed", "failed"]
    assert "found other weights or data" in ends[0].error


def test_two_machines_and_a_merge_make_one_sweep(small_recipe, tmp_path, capsys):
    halves = [tmp_path / "one", tmp_path / "two"]
    for ratios, output in zip(("[0.1, 0.3]", "[0.5]"), halves, strict=True):
        sweep(small_recipe(ratios), output, InThisProcess())
    assert main(["merge", *map(str, halves), "--output", str(tmp_path / "merged")]) == 0
    assert "4 records in" in capsys.readouterr().out
    recipe, engine = small_recipe("[0.1, 0.3, 0.5]"), InThisProcess()
    sweep(recipe, tmp_path / "whole", engine)
    assert values(tmp_path / "merged") == values(tmp_path / "whole")
    engine.jobs.clear()
    sweep(recipe, tmp_path / "merged", engine)
    assert engine.jobs == []


@pytest.mark.parametrize("error", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_folder_that_turns_unwritable_stops_before_any_work(
    small_recipe, tmp_path, capsys, monkeypatch, error
):
    def refuses(*_, **__):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr("tempfile.TemporaryFile", refuses)
    monkeypatch.setattr(LocalEngine, "run", lambda *_: pytest.fail("no work without a folder"))
    assert main(["sweep", str(small_recipe()), "--output", str(tmp_path / "results")]) == 3
    message = capsys.readouterr().err
    assert os.strerror(error) in message
    assert "choose another folder" in message


@pytest.mark.parametrize("command", ["sweep", "plan"])
@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("models: &a [x, x]\ntasks: [*a, *a, *a]", "an anchor"),
        ("models: [!!python/object/apply:os.system [touch harmed]]\ntasks: [c4]", "a tag"),
        ("models: [x]\ntasks: [c4]\noutput: /tmp/elsewhere", "'output'"),
        ("models: [x]\ntasks: [{name: c4, output: ../elsewhere}]", "'output'"),
    ],
)
def test_a_recipe_can_neither_run_nor_multiply_nor_write_elsewhere(
    tmp_path, monkeypatch, capsys, command, text, what
):
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    Path("recipe.yaml").write_text(text)
    assert main([command, "recipe.yaml", "--output", "results"]) == 2
    assert what in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*")] == ["here", "recipe.yaml"]


def test_names_of_a_recipe_make_no_file_outside_the_folder(small_recipe, tmp_path):
    recipe, output = small_recipe(), tmp_path / "deep" / "results"
    recipe.write_text(recipe.read_text().replace("window: 32", "window: '../../../harmed'"))
    with pytest.raises(UsageError, match="window"):
        sweep(recipe, output, InThisProcess())
    recipe = small_recipe()
    before = {path for path in tmp_path.rglob("*") if output not in path.parents}
    sweep(recipe, output, InThisProcess())
    after = {path for path in tmp_path.rglob("*") if output not in path.parents}
    assert after - before == {output.parent, output}


def rendered(board: Board, height: int) -> str:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(board.table(height))
    return console.export_text()


def test_the_table_shows_what_matters_when_there_is_no_room_for_all():
    board = Board([f"cell {number}" for number in range(50)])
    for position in range(20):
        board.show(CellUpdate(position, "complete", value="perplexity 5"))
    board.show(CellUpdate(30, "running (attempt 2)"))
    board.show(CellUpdate(40, "failed", "no [memory]"))
    text = rendered(board, 4)
    assert "20 complete, 1 failed, 28 pending, 1 running" in text
    for part in ("cell 30", "running (attempt 2)", "cell 40", "no [memory]"):
        assert part in text
    assert text.count("cell ") == 5
    assert "perplexity 5" in rendered(board, 50)
