"""Where questions come from: the hub, a generator of our own, or what a person passes instead."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from harness.assets.aliases import HubText
from harness.assets.hub import load_split
from harness.assets.kinds import Purpose
from harness.assets.paths import existing_path
from harness.errors import UsageError
from harness.questions.local import SUFFIXES, read_local
from harness.questions.rows import QuestionRows
from harness.questions.tables import table_rows
from harness.records.document import digest

Read = Callable[[str, str | None, Purpose], QuestionRows]
"""Questions of a task's name, with data that replaces its own, for a purpose."""

_DATASET = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>.+))?")


@dataclass(frozen=True)
class HubQuestions:
    """A dataset of the hub.

    Replaced by local files, or by another repository (``ORG/NAME[@revision]``) that has the same
    configuration and splits.
    """

    own: HubText

    def __call__(self, name: str, data: str | None, purpose: Purpose) -> QuestionRows:
        """Read the split for ``purpose``; see ``Read``.

        Raises:
            UsageError: ``data`` names nothing, or does not fit.
            AssetError: the data cannot be had; says what to pass instead.
        """
        hub = self.own
        if data is not None:
            if path := existing_path(data, SUFFIXES):
                return read_local(path, hub.splits[purpose], hub.config, data)
            match = _DATASET.fullmatch(data)
            if match is None:
                raise UsageError(
                    f"'{data}' is neither a file or folder nor a dataset; pass --tasks "
                    f"{name}=PATH or {name}=ORG/NAME"
                )
            hub = replace(hub, repository=match["repository"], revision=match["revision"])
        where = [hub.repository, hub.config or "", hub.splits[purpose]]
        reference = data or ":".join(part for part in where if part)
        table, commit = load_split(hub, purpose, f"the questions '{reference}'", _instead(name))
        return QuestionRows(
            reference=reference,
            rows=table_rows(table, reference),
            columns=frozenset(table.column_names),
            fingerprint=digest([*where, commit]),
            revision=commit,
        )


@dataclass(frozen=True)
class OwnQuestions:
    """Questions that need no hub, from ``read``; replaced by local files."""

    read: Callable[[Purpose], QuestionRows]

    def __call__(self, name: str, data: str | None, purpose: Purpose) -> QuestionRows:
        """Read the split for ``purpose``; see ``Read``.

        Raises:
            UsageError: ``data`` is no file or folder, or does not fit.
            AssetError: the data cannot be had.
        """
        if data is None:
            return self.read(purpose)
        path = existing_path(data, SUFFIXES)
        if path is None:
            raise UsageError(f"no such file or folder: {data}; pass --tasks {name}=PATH")
        split = "train" if purpose == "calibration" else "test"
        return read_local(path, split, None, data)


def _instead(name: str) -> str:
    return f"a local file or folder ({name}=PATH) or mini-{name}"
