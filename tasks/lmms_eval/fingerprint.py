"""Identity of what an lmms-eval task asks: its documents, images, prompts and scoring."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from datasets import Audio, Dataset, Features, Video
from datasets import Image as ImageFeature
from PIL import Image

from tasks.eval_libraries.evaluation import seeds
from tasks.eval_libraries.fingerprint import canonical, configuration
from tasks.eval_libraries.library import LMMS_EVAL
from tasks.eval_libraries.posing import named_posing
from tasks.lmms_eval.settings import Settings

PLACES = ("dataset_kwargs", "dataset_name", "dataset_path", "metadata")
"""Configuration that names places; what lies there is hashed itself."""


def content(task: Any, settings: Mapping[str, Settings], fewshot_seed: int) -> Iterator[bytes]:
    """All that decides the results of ``task``, the same on every machine."""
    drawn = seeds(task, fewshot_seed, sampled=settings[task.task_name].sampled)
    yield canonical(_hashed(configuration(task, PLACES)) | drawn)
    yield from sorted(_sources(task))
    for document in _documents(task):
        yield canonical(_hashed(document))
    for shown in _opened_by_the_task(task):
        yield canonical(_hashed(shown))


def posed(task: Any) -> Iterator[bytes]:
    """The target of every document; prompts and images are in ``content``."""
    if task.get_config("doc_to_target") is not None:
        for number, document in enumerate(task.eval_docs_no_media):
            with named_posing(LMMS_EVAL, task.task_name, number):
                yield canonical(_hashed(task.doc_to_target(document)))
    for document in list(task.eval_docs_no_media)[:1]:
        # Without its five attempts.
        scoring = getattr(task.process_results, "__wrapped__", None)
        with suppress(Exception):
            scoring(task, document, [""]) if scoring else task.process_results(document, [""])


def _sources(task: Any) -> set[bytes]:
    """Text of the files that hold the task's functions."""
    values = [*vars(task.config).values()]
    values += [value for row in task.get_config("metric_list") or () for value in row.values()]
    files = (inspect.getsourcefile(value) for value in values if inspect.isfunction(value))
    return {Path(file).read_bytes() for file in files if file and Path(file).is_file()}


def _documents(task: Any) -> Iterator[tuple[str, Any]]:
    """Every document with its prompt, images as they are stored."""
    for text, document in zip(task.eval_docs_no_media, _stored(task.eval_docs), strict=True):
        yield task.doc_to_text(text), document


def _stored(documents: Any) -> Iterator[Any]:
    """Documents without decoding what is in them."""
    if not isinstance(documents, Dataset):
        yield from documents
        return
    for table in documents.with_format("arrow").iter(batch_size=64):
        yield from table.to_pylist()


def _opened_by_the_task(task: Any) -> Iterator[Any]:
    """Images that are not in the documents but behind a name in them."""
    features = getattr(task.eval_docs, "features", None)
    if features is not None and not _holds_media(features):
        for document in task.eval_docs:
            yield task.doc_to_visual(document)


def _holds_media(feature: Any) -> bool:
    if isinstance(feature, ImageFeature | Audio | Video):
        return True
    inner = feature.values() if isinstance(feature, Features | dict) else ()
    return any(map(_holds_media, inner)) or _holds_media_inside(feature)


def _holds_media_inside(feature: Any) -> bool:
    return hasattr(feature, "feature") and _holds_media(feature.feature)


def _hashed(content: Any) -> Any:
    """``content`` with images and bytes replaced by their hashes."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    if isinstance(content, Image.Image):
        return [content.mode, content.size, _hashed(content.tobytes())]
    if isinstance(content, dict):
        if content.keys() == {"bytes", "path"}:
            stored = content["bytes"]
            return _hashed(Path(content["path"]).read_bytes() if stored is None else stored)
        return {str(key): _hashed(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_hashed(value) for value in content]
    return content
