"""Plans and runs on a tiny model: which records come out, and what happens when things break."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import weakref
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.errors import (
    AssetError,
    HarnessError,
    InfrastructureError,
    NonFiniteError,
    UsageError,
)
from harness.experiments.plan import make_plan
from harness.experiments.request import Request
from harness.experiments.runner import run
from harness.records import store
from harness.records.spec import CalibrationSpec, TaskSpec
from harness.statistics.collect import collect
from harness.statistics.gradients import collect_gradients
from tasks.text_perplexity import PreparedPerplexity

SCHEMA = Path(__file__).parents[2] / "harness" / "records" / "record.schema.json"
METHODS = ("svd", "asvd-rootcov", "latentllm")
RATIOS = (0.2, 0.4)


def request_for(model: Path, texts: Path, output: Path, **changes: object) -> Request:
    tasks = [
        TaskSpec(name="wikitext2", data=str(texts / "evaluation.txt"), options={"window": 32}),
        TaskSpec(name="wiki-excerpt", data=str(texts / "other.txt"), options={"window": 24}),
    ]
    calibration = CalibrationSpec(text=str(texts / "calibration.txt"), samples=4, length=16)
    standard = Request(
        methods={"svd": {}},
        ratios=[0.3],
        tasks=tasks,
        model=str(model),
        calibration=calibration,
        output=output,
    )
    return replace(standard, **changes)


@pytest.fixture(scope="module")
def finished(model_folder, texts, tmp_path_factory):
    """A whole grid: three methods at two ratios on two tasks."""
    output = tmp_path_factory.mktemp("grid") / "results"
    request = request_for(
        model_folder("llama"), texts, output, methods={m: {} for m in METHODS}, ratios=RATIOS
    )
    return request, run(request)


@pytest.fixture
def grid(finished, tmp_path):
    """A copy of it, to be changed."""
    request, records = finished
    shutil.copytree(request.output, tmp_path / "grid")
    return replace(request, output=tmp_path / "grid"), records


@pytest.fixture
def request_one(model_folder, texts, tmp_path):
    """One method, one ratio, two tasks: four cells."""
    return request_for(model_folder("opt"), texts, tmp_path / "results")


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}


def value(record) -> float:
    return record.result.metrics[0].value


def test_every_cell_has_a_record_and_the_reference_only_one(finished):
    _, records = finished
    cells = [(r.spec.method.name, r.spec.ratio, r.spec.task.name) for r in records]
    tasks = ("wikitext2", "wiki-excerpt")
    expected = [("dense", 0.0, task) for task in tasks]
    expected += [(m, ratio, task) for m in METHODS for ratio in RATIOS for task in tasks]
    assert cells == expected
    assert {record.status for record in records} == {"complete"}


def test_records_on_disk_are_the_ones_returned(finished):
    request, records = finished
    stored, problems = store.load_all(request.output)
    assert problems == []
    assert {r.run_id: r for r in stored} == {r.run_id: r for r in records}
    assert {path.stem for path in request.output.iterdir()} == {r.run_id for r in records}


def test_records_follow_the_published_schema(finished):
    request, _ = finished
    schema = json.loads(SCHEMA.read_text("utf-8"))
    for path in request.output.iterdir():
        jsonschema.validate(json.loads(path.read_text("utf-8")), schema)


def test_records_say_what_was_asked_and_what_was_achieved(finished):
    request, records = finished
    dense = {r.spec.task.name: r for r in records if r.spec.method.name == "dense"}
    for record in records:
        assert record.model.family == "llama"
        assert record.environment.packages["torch"] == torch.__version__
        assert record.result.batch_size == 8
        assert {"load", "evaluate"} <= record.timings.keys()
        if record.spec.method.name == "dense":
            assert record.compression is record.calibration is record.reference is None
            continue
        facts = record.compression
        assert record.reference == dense[record.spec.task.name].run_id
        assert facts.ratio_requested == record.spec.ratio <= facts.ratio_layers < 1
        assert 0 < facts.ratio_model < facts.ratio_layers
        assert facts.parameters < record.model.parameters
        assert facts.bytes < record.model.bytes
        if not facts.calibrated:
            assert (record.spec.method.name, record.calibration) == ("svd", None)
            continue
        assert record.calibration.tokens == 64
        assert record.calibration.reference == request.calibration.text
        assert record.spec.method.options["junction"] in ("left", "block-identity")
        assert value(record) != value(dense[record.spec.task.name])


def test_tasks_are_recorded_with_every_option_and_its_type(model_folder, texts, tmp_path):
    request = request_for(model_folder("llama"), texts, tmp_path)
    spelled = [replace_options(task, window=str(task.options["window"])) for task in request.tasks]
    plan = make_plan(replace(request, tasks=spelled))
    assert ids(plan) == ids(make_plan(request))
    assert plan.variants[0].cells[0].spec.task.options == {"window": 32}
    default = [replace_options(request.tasks[0])]
    cell = make_plan(replace(request, tasks=default)).variants[0].cells[0]
    assert cell.spec.task.options == {"window": 2048}


def replace_options(task: TaskSpec, **options: object) -> TaskSpec:
    return task.model_copy(update={"options": options})


def test_calibration_is_shared_by_all_that_start_from_the_original(request_one, monkeypatch):
    calls = []

    def counted(*arguments, **keywords):
        calls.append(arguments)
        return collect(*arguments, **keywords)

    monkeypatch.setattr("harness.experiments.shared_statistics.collect", counted)
    monkeypatch.setattr("harness.compression.pipeline.collect", counted)
    original, sequential = ({"propagation": one} for one in ("original", "sequential"))
    methods = {"svd": original, "latentllm": original, "asvd-l2": sequential}
    run(replace(request_one, methods=methods, ratios=RATIOS))
    assert len(calls) == 1


def test_a_second_run_touches_nothing(finished, monkeypatch):
    request, records = finished
    before = snapshot(request.output)
    monkeypatch.setattr("harness.experiments.runner.load_model", None)
    assert run(request) == records
    assert snapshot(request.output) == before


def test_new_methods_join_the_records_that_are_there(grid, monkeypatch):
    request, records = grid
    evaluated = []
    monkeypatch.setattr(PreparedPerplexity, "evaluate", logged(evaluated))
    more = run(replace(request, methods={**request.methods, "asvd-l2": {}}))
    assert evaluated == ["asvd-l2"] * 4
    assert more[:-4] == records


def logged(log, evaluate=PreparedPerplexity.evaluate):
    def evaluate_and_log(self, subject, conditions):
        log.append(subject.compression.label if subject.compression else "dense")
        return evaluate(self, subject, conditions)

    return evaluate_and_log


def test_force_repeats_and_finds_the_same_to_the_last_bit(grid):
    request, records = grid
    again = run(replace(request, force=True))
    for first, second in zip(records, again, strict=True):
        assert second.run_id == first.run_id
        assert second.result == first.result
        assert second.compression == first.compression


@pytest.mark.parametrize("propagation", ["original", "sequential"])
def test_gradients_are_collected_once_and_change_no_other_method(
    request_one, monkeypatch, tmp_path, propagation
):
    calls = []
    monkeypatch.setattr(
        "harness.statistics.collect.collect_gradients",
        lambda *arguments: calls.append(1) or collect_gradients(*arguments),
    )
    others = {"svd": {"propagation": "original"}}
    alone = run(replace(request_one, methods=others, output=tmp_path / "alone"))
    assert not calls
    own = {"twinroot": {"propagation": propagation}, "asvd-rootcov": {"ranks": "fisher"}}
    among = run(replace(request_one, methods=own | others))
    assert calls == [1]
    assert {record.status for record in among} == {"complete"}
    found = {record.run_id: record for record in among}
    for record in alone:
        assert found[record.run_id].result == record.result
        assert found[record.run_id].compression == record.compression


@pytest.mark.parametrize(
    ("last", "expected"),
    # The dense model, which nothing was collected for yet, then one after the other.
    [({"propagation": "original"}, [0, 2, 2, 0]), ({"ranks": "fisher"}, [0, 0, 0, 0])],
)
def test_statistics_are_forgotten_before_the_last_model_that_needs_them_is_measured(
    request_one, monkeypatch, last, expected
):
    seen, alive = [], []

    def remembered(*arguments, **named):
        found = collect(*arguments, **named)
        seen.extend(weakref.ref(block) for block in found)
        return found

    def evaluate(*_):
        alive.append(sum(block() is not None for block in seen))
        raise InfrastructureError("enough")

    monkeypatch.setattr("harness.experiments.shared_statistics.collect", remembered)
    monkeypatch.setattr(PreparedPerplexity, "evaluate", evaluate)
    methods = {"svd": {"propagation": "original"}, "latentllm": {}, "asvd-l2": last}
    run(replace(request_one, methods=methods, tasks=request_one.tasks[:1]))
    assert alive == expected


def test_a_record_has_the_time_of_the_statistics_that_its_method_read(request_one):
    original = {"propagation": "original"}
    methods = {"svd": original, "asvd-l1": {}, "twinroot": {}, "asvd-l2": original}
    dense, *found = run(replace(request_one, methods=methods, tasks=request_one.tasks[:1]))
    took = [record.timings.get("calibrate") for record in (dense, *found)]
    assert took[0] is took[2] is None
    assert took[1] == took[4] != took[3]
    assert "draw" not in dense.timings
    assert len({record.timings["draw"] for record in found}) == 1


@pytest.mark.parametrize("propagation", ["original", "sequential"])
def test_a_method_is_measured_the_same_alone_as_among_others(
    tmp_path, propagation, model_folder, texts
):
    options = {"latentllm": {"propagation": propagation, "iterations": 1}}
    request = request_for(model_folder("qwen3"), texts, tmp_path / "alone", methods=options)
    alone = run(request)[-1]
    others = {"svd": {}, **options}
    among = run(replace(request, methods=others, output=tmp_path / "among"))[-1]
    assert among.run_id == alone.run_id
    assert among.result == alone.result
    assert among.compression == alone.compression


class Exploding:
    """A method whose compression raises."""

    summary = "explodes"

    def __init__(self, error):
        from harness.compression.compressor import CompressorConfig

        self.config, self.error = CompressorConfig, error

    def needs_mlp_tokens(self, config):
        return False

    def compress(self, block, statistics, keep, config):
        raise self.error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (UsageError("does not fit"), "model.decoder.layers.0: does not fit"),
        (NonFiniteError("NaN here"), "model.decoder.layers.0: NaN here"),
        (
            ValueError("two\nlines"),
            "method 'asvd-l1' failed: ValueError: two lines; --debug shows where",
        ),
        (MemoryError(), "out of memory; pass a smaller --batch-size"),
        (torch.OutOfMemoryError("CUDA"), "out of memory; pass a smaller --batch-size"),
        (RuntimeError("DefaultCPUAllocator: no"), "out of memory; pass a smaller --batch-size"),
    ],
)
def test_a_method_that_fails_does_not_stop_the_others(request_one, error, expected, monkeypatch):
    monkeypatch.setattr("compressors.asvd_l1.plugin", Exploding(error))
    records = run(replace(request_one, methods={"asvd-l1": {}, "svd": {}}))
    assert [r.status for r in records] == ["complete"] * 2 + ["failed"] * 2 + ["complete"] * 2
    for record in records[2:4]:
        assert record.error.startswith(expected)
        assert record.result is record.compression is None
        assert "evaluate" not in record.timings
    stored, problems = store.load_all(request_one.output)
    assert len(stored) == 6
    assert not problems


def test_a_task_that_fails_does_not_stop_the_others(request_one):
    longer = replace_options(request_one.tasks[0], window=64)
    too_long = replace_options(request_one.tasks[1], window=65)
    records = run(replace(request_one, tasks=[longer, too_long]))
    assert [r.status for r in records] == ["complete", "failed"] * 2
    assert "pass --window 64" in records[1].error
    assert records[3].compression is not None


def test_failed_cells_are_run_again(request_one, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("compressors.svd.plugin", Exploding(RuntimeError("no")))
        first = run(request_one)
    log = []
    monkeypatch.setattr(PreparedPerplexity, "evaluate", logged(log))
    second = run(request_one)
    assert [r.status for r in first] == ["complete"] * 2 + ["failed"] * 2
    assert {r.status for r in second} == {"complete"}
    assert log == ["svd", "svd"]
    assert second[:2] == first[:2]


def test_an_interrupt_leaves_whole_records_only_and_the_rest_can_follow(request_one, monkeypatch):
    calls = []
    original = logged(calls)

    def interrupted(self, subject, conditions):
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(self, subject, conditions)

    with monkeypatch.context() as patch:
        patch.setattr(PreparedPerplexity, "evaluate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(request_one)
    before = snapshot(request_one.output)
    assert len(before) == 2
    assert store.load_all(request_one.output)[1] == []
    assert len(run(request_one)) == 4
    after = snapshot(request_one.output)
    assert {name: after[name] for name in before} == before


INTERRUPTIBLE = """
import sys, time
from harness.cli.main import main
from tasks.text_perplexity import PreparedPerplexity

evaluate, calls = PreparedPerplexity.evaluate, []

def slow(self, subject, conditions):
    calls.append(1)
    if len(calls) == 3:
        print("working", flush=True)
        time.sleep(100)
    return evaluate(self, subject, conditions)

PreparedPerplexity.evaluate = slow
sys.exit(main(sys.argv[1:]))
"""


def test_control_c_ends_with_one_line_and_130(request_one):
    tasks = [f"{task.name}={task.data}" for task in request_one.tasks]
    arguments = ["--model", request_one.model, "--method", "svd", "--tasks", *tasks]
    arguments += ["--calibration", request_one.calibration.text, "--samples", "4", "--length", "16"]
    arguments += ["--window", "32", "--output", str(request_one.output)]
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, "run", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "working\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == (
        "harness: error: interrupted; finished cells are kept, run again to go on"
    )
    assert len(snapshot(request_one.output)) == 2
    assert len(store.load_all(request_one.output)[0]) == 2


def ids(plan) -> list[str]:
    return [cell.run_id for variant in plan.variants for cell in variant.cells]


def test_run_ids_do_not_depend_on_where_and_how_it_runs(request_one, tmp_path):
    expected = ids(make_plan(request_one))
    elsewhere = {"device": "cuda:1", "output": tmp_path, "batch_size": 1, "force": True}
    for name, changed in elsewhere.items():
        assert ids(make_plan(replace(request_one, **{name: changed}))) == expected


@pytest.mark.parametrize(
    "changes",
    [{"dtype": "bfloat16"}, {"seed": 1}],
)
def test_run_ids_of_all_cells_depend_on(request_one, changes):
    assert disjoint(request_one, replace(request_one, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"methods": {"svd": {"junction": "right"}}},
        {"methods": {"asvd-l2": {}}},
        {"ratios": [0.31]},
        {"calibration": {"seed": 1}},
        {"calibration": {"samples": 5}},
        {"calibration": {"sampling": "documents"}},
        {"calibration": {"self_samples": 2}},
    ],
)
def test_run_ids_of_compressed_cells_depend_on(request_one, changes):
    if isinstance(more := changes.get("calibration"), dict):
        changes = {"calibration": request_one.calibration.model_copy(update=more)}
    before, after = (ids(make_plan(r)) for r in (request_one, replace(request_one, **changes)))
    assert before[:2] == after[:2]
    assert not set(before[2:]) & set(after[2:])


def disjoint(one: Request, other: Request) -> bool:
    return not set(ids(make_plan(one))) & set(ids(make_plan(other)))


def test_run_ids_depend_on_the_content_of_the_model(request_one, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(request_one.model, model)
    request = replace(request_one, model=str(model))
    original = ids(make_plan(request))
    tensors = load_file(model / "model.safetensors")
    tensors["model.decoder.layers.0.fc1.bias"][0] += 1e-3
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    weights = ids(make_plan(request))
    (model / "tokenizer_config.json").open("a").write("\n")
    tokenizer = ids(make_plan(request))
    assert len({*original, *weights, *tokenizer}) == 12


@pytest.mark.parametrize(("which", "kept"), [("calibration", 2), ("evaluation", 2)])
def test_run_ids_depend_on_the_content_of_the_texts(request_one, texts, tmp_path, which, kept):
    copy = tmp_path / "texts"
    shutil.copytree(texts, copy)
    request = request_for(Path(request_one.model), copy, tmp_path / "results")
    before = ids(make_plan(request))
    (copy / f"{which}.txt").open("a").write(" more")
    after = ids(make_plan(request))
    # Dense cells do not read the calibration, the second task not the first one's text.
    expected = before[:2] if which == "calibration" else [before[1], before[3]]
    assert [one for one in before if one in after] == expected
    assert len(expected) == kept


def test_calibration_text_is_no_evaluation_text(request_one, texts, tmp_path):
    copy = tmp_path / "renamed.txt"
    shutil.copyfile(texts / "other.txt", copy)
    calibration = request_one.calibration.model_copy(update={"text": str(copy)})
    with pytest.raises(UsageError, match=r"both calibration and evaluation.*--calibration"):
        run(replace(request_one, calibration=calibration))
    assert not request_one.output.exists()


def test_without_methods_only_the_reference_is_measured(request_one):
    calibration = CalibrationSpec(text="/absent.txt", samples=4, length=16)
    records = run(replace(request_one, methods={}, calibration=calibration))
    assert [r.spec.method.name for r in records] == ["dense"] * 2


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"ratios": [1.0]}, UsageError, "ratio of the request"),
        ({"ratios": [float("nan")]}, UsageError, "ratio of the request"),
        ({"dtype": "float8"}, UsageError, "dtype of the request"),
        ({"methods": {"svdd": {}}}, UsageError, "did you mean svd"),
        ({"methods": {"asvd-l1": {"alpha": float("inf")}}}, UsageError, "'alpha' of asvd-l1"),
        ({"model": "/absent/folder"}, UsageError, "no such file or folder"),
    ],
)
def test_wrong_requests_fail_before_anything_is_done(request_one, changes, kind, message):
    with pytest.raises(kind, match=message):
        run(replace(request_one, **changes))
    assert not request_one.output.exists()


def broken_model(request: Request, folder: Path, path: str, number: float) -> Request:
    shutil.copytree(request.model, folder)
    tensors = load_file(folder / "model.safetensors")
    tensors[path].view(-1)[0] = number
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return replace(request, model=str(folder))


def test_a_broken_weight_fails_every_cell_and_names_its_layer(request_one, tmp_path):
    path = "model.decoder.layers.1.self_attn.v_proj"
    records = run(broken_model(request_one, tmp_path / "m", f"{path}.weight", float("nan")))
    assert [r.status for r in records] == ["failed"] * 4
    assert f"the model itself holds NaN or infinity, in {path}.weight" in records[0].error
    assert records[2].error.startswith(f"the model itself holds NaN or infinity, in {path}")


def test_weights_that_are_infinite_are_named(request_one, tmp_path):
    path = "model.decoder.layers.1.final_layer_norm.weight"
    records = run(broken_model(request_one, tmp_path / "m", path, float("inf")))
    for record in records:
        assert record.error == (
            f"the model itself holds NaN or infinity, in {path}; fetch or copy it again"
        )


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (None, "no such file or folder"),
        ("", "is empty"),
        (" \n", "is empty"),
        ("the cat sat", "pass a longer --calibration"),
    ],
)
def test_calibration_that_cannot_serve_stops_the_run(request_one, tmp_path, write, message):
    text = tmp_path / "short.txt"
    if write is not None:
        text.write_text(write)
    calibration = request_one.calibration.model_copy(update={"text": str(text)})
    with pytest.raises(UsageError, match=message):
        run(replace(request_one, calibration=calibration))
    assert not request_one.output.exists() or not any(request_one.output.iterdir())


def without(*tensors):
    def change(folder: Path) -> None:
        kept = load_file(folder / "model.safetensors")
        for name in tensors:
            del kept[name]
        save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})

    return change


def with_config(**changes):
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | changes))

    return change


def cut(name):
    def change(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (cut("model.safetensors"), r"model\.safetensors is truncated or damaged"),
        (cut("config.json"), r"config\.json is damaged"),
        (cut("tokenizer.json"), "tokenizer"),
        (lambda folder: (folder / "model.safetensors").unlink(), "holds no weights"),
        (lambda folder: [f.unlink() for f in folder.glob("token*")], "no tokenizer"),
        (
            without("model.decoder.layers.0.fc1.weight"),
            r"1 tensors are missing, the first model\.decoder\.layers\.0\.fc1\.weight",
        ),
        (with_config(ffn_dim=40), "tensors have another shape than config.json says"),
        (with_config(model_type="frobnicate"), "frobnicate"),
    ],
)
def test_a_damaged_model_is_refused_not_repaired(request_one, tmp_path, change, message):
    shutil.copytree(request_one.model, tmp_path / "model")
    change(tmp_path / "model")
    with pytest.raises(AssetError, match=message):
        run(replace(request_one, model=str(tmp_path / "model")))


def test_an_unknown_architecture_is_the_users_to_change(request_one, tmp_path):
    shutil.copytree(request_one.model, tmp_path / "model")
    with_config(model_type="gpt2")(tmp_path / "model")
    with pytest.raises(UsageError, match="no family for model type 'gpt2'"):
        run(replace(request_one, model=str(tmp_path / "model")))


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_keeps_what_is_written(request_one, monkeypatch):
    fsync = os.fsync

    def fill_up(file):
        """No room for a second record; what else is written, and folders, have room."""
        written = list(request_one.output.glob("*.json"))
        aside = list(request_one.output.glob(".*.tmp"))
        return full() if written and aside else fsync(file)

    monkeypatch.setattr("harness.support.files.os.fsync", fill_up)
    with pytest.raises(InfrastructureError, match=r"No space left.*free some space"):
        run(request_one)
    assert len(store.load_all(request_one.output)[0]) == 1
    assert len(list(request_one.output.iterdir())) == 1


def test_a_folder_that_cannot_be_written_stops_the_run_before_the_work(request_one, monkeypatch):
    def denied(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("harness.records.store.tempfile.TemporaryFile", denied)
    monkeypatch.setattr("harness.experiments.runner.load_model", None)
    with pytest.raises(InfrastructureError, match=r"Permission denied.*choose another folder"):
        run(request_one)


def test_a_damaged_record_is_named_and_can_be_replaced(request_one):
    records = run(request_one)
    path = request_one.output / f"{records[1].run_id}.json"
    path.write_text(path.read_text()[:-100])
    with pytest.raises(HarnessError, match=rf"{path}: not valid JSON"):
        run(request_one)
    again = run(replace(request_one, force=True))
    assert value(again[1]) == value(records[1])
