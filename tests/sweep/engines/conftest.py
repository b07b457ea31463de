from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from harness.support.locks import locked
from harness.sweep.engines.engine import Ended, Engine, Started
from harness.sweep.job import JOB, Job
from harness.sweep.recipe_file import read_recipe, requests

Run = Callable[..., Iterator[Started | Ended]]


@pytest.fixture(scope="module")
def alone_on_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One worker at a time: whoever looks for a cluster finds any that runs on the machine."""
    with locked(tmp_path_factory.getbasetemp().parent / "ray.lock"):
        yield


@pytest.fixture(
    scope="module",
    params=["local", *(pytest.param(name, marks=pytest.mark.extras) for name in ("ray", "slurm"))],
)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Each engine, ray on a cluster of two cores, slurm on submitit's stand-in for Slurm."""
    if request.param == "ray":
        request.getfixturevalue("alone_on_ray")
    with pytest.MonkeyPatch.context() as patch:
        # Values are equal to the digit for equal numbers of threads.
        patch.setenv("OMP_NUM_THREADS", "1")
        yield from {"local": _local, "ray": _ray, "slurm": _slurm}[request.param](patch)


def _local(_: pytest.MonkeyPatch) -> Iterator[Engine]:
    from harness.sweep.engines.local import engine

    yield engine


def _ray(_: pytest.MonkeyPatch) -> Iterator[Engine]:
    ray = pytest.importorskip("ray", reason="needs harness[ray]")
    from harness.sweep.engines.ray import _cluster, engine

    with _cluster(2):
        assert ray.is_initialized()
        yield engine


def _slurm(patch: pytest.MonkeyPatch) -> Iterator[Engine]:
    core = pytest.importorskip("submitit.core.core", reason="needs harness[slurm]")
    from harness.sweep.engines.slurm import SlurmEngine

    # How long a slow file system may take to show a result.
    patch.setattr(core.Job, "_results_timeout_s", 0)
    yield SlurmEngine(cluster="local", pause=0.05)


@pytest.fixture
def run(engine, tmp_path) -> Run:
    """Run jobs on the engine."""

    def start(jobs: Sequence[str], workers: int = 1, devices: Sequence[str] = ()):
        folder = tmp_path / "folder"
        folder.mkdir()
        return engine.run(jobs, workers, devices, engine.config(), folder)

    return start


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, model_folder, texts) -> Path:
    """A dense and a compressed cell of a tiny model on local files."""
    path = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    path.write_text(
        f"""
models: ["{model_folder("opt")}"]
methods: [svd]
ratios: [0.3]
tasks: [{{name: wikitext2, data: "{texts / "evaluation.txt"}", options: {{window: 32}}}}]
calibration: {{text: "{texts / "calibration.txt"}", samples: 4, length: 16}}
""",
        encoding="utf-8",
    )
    return path


@pytest.fixture
def jobs(recipe) -> Callable[[Path], list[str]]:
    """One line of JSON for each cell of the recipe."""

    def make(output: Path) -> list[str]:
        found = requests(read_recipe(recipe), output)
        return [JOB.dump_json(Job(one)).decode() for one in found]

    return make
