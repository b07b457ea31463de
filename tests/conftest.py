"""Tiny models, a tokenizer and texts made on the spot; nothing is fetched."""

from __future__ import annotations

import functools
import gc
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import hypothesis
import pytest

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess

    from transformers import PreTrainedTokenizerFast

    from harness.models.language_model import LanguageModel

# Read when torch is loaded, here and in processes that tests start: on models this small threads
# gain nothing, and idle ones spin on the cores of other workers.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("repeatable")


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(scope="session", autouse=True)
def private_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_CACHE", str(tmp_path_factory.getbasetemp() / "harness-cache"))
        yield


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """A shell that starts tests in the background has them ignore SIGINT, which some send."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def one_thread() -> Iterator[None]:
    """Threads, and collecting the libraries' own objects, only cost time on models this small."""
    import torch

    from tests.helpers import tiny_models  # noqa: F401

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    gc.freeze()
    yield
    gc.unfreeze()
    torch.set_num_threads(threads)


@pytest.fixture
def fork() -> Iterator[Callable[..., ForkServerProcess]]:
    """``fork(target, *arguments)``: a process, which does not outlive the test."""
    from tests.helpers.forking import forked

    started = []

    def start(target: Callable[..., object], *arguments: object) -> ForkServerProcess:
        started.append(forked(target, *arguments))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.join()


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    from tests.helpers import tiny_models

    return tiny_models.train_tokenizer()


@pytest.fixture
def tiny(one_thread, tokenizer) -> Callable[..., LanguageModel]:
    """``tiny(name, dtype, seed)``: a fresh random model in memory."""
    from tests.helpers import tiny_models

    return lambda name, *rest: tiny_models.wrap(tiny_models.random_model(name, *rest), tokenizer)


@pytest.fixture(scope="session")
def model_folder(
    one_thread, tokenizer, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """``model_folder(name)``: a float32 model on disk; not to be changed."""
    import torch

    from tests.helpers import tiny_models

    @functools.cache
    def save(name: str) -> Path:
        folder = tmp_path_factory.mktemp("models") / name
        tiny_models.random_model(name, torch.float32).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return save


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``calibration.txt``, ``evaluation.txt`` and ``other.txt``."""
    from tests.helpers import tiny_models

    folder = tmp_path_factory.mktemp("texts")
    for seed, name in enumerate(("calibration", "evaluation", "other"), start=1):
        (folder / f"{name}.txt").write_text(tiny_models.words(seed, 200))
    return folder


@pytest.fixture(scope="session")
def saved_once(one_thread, tmp_path_factory) -> Path:
    """A saved model in several shards; not to be changed."""
    import harness
    from tests.helpers.saved_models import Case, compressed

    subject = compressed(Case("opt", "float32", "latentllm", "block-identity"))
    folder = tmp_path_factory.mktemp("once") / "small"
    return harness.save(subject, folder, shard_bytes=30_000)


@pytest.fixture
def saved(saved_once, tmp_path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(saved_once, tmp_path / "small"))


@pytest.fixture
def cli(capsys) -> Callable[..., Outcome]:
    """``cli("run", ...)`` in this process."""
    from harness.cli.main import main

    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Outcome(code, *capsys.readouterr())

    return call
