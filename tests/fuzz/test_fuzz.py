"""Inputs of every kind that anybody may have made: an error of ours or success, and nothing else.

``HARNESS_FUZZ`` is how many examples of each kind the slow test tries (default 150). What came of
them stands on standard error.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from datasets import config
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.models import chat_template
from harness.questions.pictures import UnreadableImageError
from tests.fuzz.inputs import Kind, kinds
from tests.fuzz.watch import watched

MANY = int(os.environ.get("HARNESS_FUZZ", "150"))
FEW = 7
NAMES = list(kinds(Path(), Path()))
ENDINGS: Counter[str] = Counter()


@pytest.fixture(scope="module")
def known(model_folder, saved_once) -> dict[str, Kind]:
    return kinds(model_folder("llama"), saved_once)


@pytest.fixture(scope="module", autouse=True)
def endings():
    yield
    sys.stderr.write(f"\n{sum(ENDINGS.values())} examples: {dict(sorted(ENDINGS.items()))}\n")


@pytest.fixture(scope="module", autouse=True)
def _warm(known):
    """What libraries import and start at first use is no doing of an input."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as cache:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", Path(cache))
        patch.setattr(chat_template, "SECONDS", 1.0)
        for kind in known.values():
            with tempfile.TemporaryDirectory() as folder:
                kind.read(kind.seed(Path(folder)))
        yield
    logging.enable_progress_bar()


def ending(kind: Kind, seed: int, base: Path) -> str:
    """What becomes of the input number ``seed``: ``read``, or the name of its error."""
    chance = random.Random(seed)
    folder, outside = base / "inside", base / "outside"
    for path in (folder, outside):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
    (outside / "secret").write_text("secret")
    ran = base / "ran"
    for place in (folder, folder / "model"):
        place.mkdir(exist_ok=True)
        (place / "own.py").write_text(f"open({str(ran)!r}, 'w')\nclass Own: ...\n")
    shutil.rmtree(folder / "model")
    path = kind.seed(folder)
    content = kind.change(chance, path.read_bytes())
    path.unlink()  # it may be a link to the valid one
    path.write_bytes(content.replace(b"OUTSIDE", str(outside / "secret").encode()))
    cache = Path(os.environ["HARNESS_CACHE"])
    said = "read"
    datasets = Path(config.HF_DATASETS_CACHE)
    with watched(base, cache, datasets, outside=outside):
        try:
            kind.read(path)
        except (HarnessError, UnreadableImageError) as error:
            said = type(error).__name__
    assert not ran.exists()
    return said


@pytest.mark.parametrize("name", NAMES)
def test_a_few(name, known, tmp_path):
    _try(name, known[name], tmp_path, FEW)


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.parametrize("name", NAMES)
def test_many(name, known, tmp_path):
    _try(name, known[name], tmp_path, MANY)


def _try(name: str, kind: Kind, base: Path, examples: int) -> None:
    # Random bytes behind a seed do not shrink.
    @settings(max_examples=examples, phases=[Phase.generate], report_multiple_bugs=False)
    @given(st.integers(0, 2**32))
    def run(seed):
        said = ending(kind, seed, base)
        ENDINGS[f"{name} {said}"] += 1

    run()
