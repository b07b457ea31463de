"""The evaluation libraries as users meet them."""

from __future__ import annotations

from dataclasses import dataclass

from harness.evaluation.task import PREFIXED
from harness.plugin import UsageError


@dataclass(frozen=True)
class Library:
    """An evaluation library.

    Attributes:
        name: of the library and of its package.
        prefix: what users write before the name of one of its tasks.
        listing: the command or commands that list its tasks.
        relative: the sentence part that says where relative paths of data in task files start.
        own_task: a task of ours that takes a file as its data.
    """

    name: str
    prefix: str
    listing: str
    relative: str
    own_task: str

    def label(self, task: str) -> str:
        """A task as errors call it."""
        return f"{self.name} task '{task}'"

    def require_no_data(self, task: str, data: str | None) -> None:
        """Raise ``UsageError`` where data is to replace what the task's file names."""
        if data is not None:
            raise UsageError(
                f"{self.label(task)} reads the data its YAML file names, not '{data}'; write a "
                "YAML file of your own that names that data, and pass its path as the task"
            )


LM_EVAL = Library(
    name="lm-eval",
    prefix="",
    listing="'harness list tasks' and 'lm-eval ls tasks' list what there is",
    relative="relative paths start at the working directory",
    own_task="wikitext2",
)
LMMS_EVAL = Library(
    name="lmms-eval",
    prefix=f"{PREFIXED}:",
    listing="'lmms-eval tasks' lists them",
    relative="relative paths start at the file's folder",
    own_task="scienceqa",
)
