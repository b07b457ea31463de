"""Turns of a conversation as text, by the template that a model brings along.

A template is a program of whoever made the model. The sandbox that transformers runs it in keeps it
from files and from Python, but not from running on or filling memory. So it runs in a process of
its own, which has bounds and can be ended.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from transformers import processing_utils, tokenization_utils_base

from harness.errors import AssetError, HarnessError, InfrastructureError
from harness.support.library_errors import one_line

SECONDS = 8.0
"""That rendering may take."""
START = 120.0
"""Seconds that a machine under load may take to start the worker."""


def render(reader: Any, turns: Sequence[Any], reference: str, *, answers: bool) -> str:
    """``turns`` as text by the chat template of ``reader``, a tokenizer or processor.

    Args:
        reader: of the model ``reference``.
        turns: what was said, as transformers has it.
        reference: what an error calls the model.
        answers: end where the model's answer begins.

    Raises:
        AssetError: the template fails, does not end, or takes too much memory.
    """
    try:
        with _elsewhere():
            text: str = reader.apply_chat_template(
                list(turns), add_generation_prompt=answers, tokenize=False
            )
    except HarnessError:
        raise
    # Ours of a template that fails, and the library's of one that is no template.
    except Exception as error:
        raise AssetError(
            f"the chat template of {reference} fails: {one_line(error)}; correct it, or fetch or "
            "copy the model again"
        ) from error
    return text


class _Worker:
    """The process that renders, for this one."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "harness.models.template_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        if self._answer(START) is None:
            self.end()
            raise InfrastructureError("the process for chat templates does not start; try again")

    @property
    def usable(self) -> bool:
        """Not so in a fork of its owner, nor after its end."""
        return self.owner == os.getpid() and self.process.poll() is None

    def ask(self, request: dict[str, Any]) -> dict[str, str]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        answer = self._answer(SECONDS)
        if answer is None:
            self.end()
            return {"error": f"it does not end within {SECONDS:g} seconds"}
        return answer

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()

    def _answer(self, seconds: float) -> dict[str, str] | None:
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            return None
        line = self.process.stdout.readline()
        answer: dict[str, str] | None = json.loads(line) if line else None
        return answer


class _Templates:
    """Renders as transformers does, elsewhere."""

    def __init__(self) -> None:
        self.worker: _Worker | None = None

    def render(self, **request: Any) -> tuple[list[str], list[Any]]:
        """In the place of ``render_jinja_template``."""
        if self.worker is None or not self.worker.usable:
            self.worker = _Worker()
        answer = self.worker.ask(request)
        if "error" in answer:
            raise ValueError(answer["error"])
        return [answer["text"]], []


_TEMPLATES = _Templates()


@contextmanager
def _elsewhere() -> Iterator[None]:
    """Have transformers render in the worker."""
    modules: tuple[Any, ...] = (processing_utils, tokenization_utils_base)
    before = [module.render_jinja_template for module in modules]
    for module in modules:
        module.render_jinja_template = _TEMPLATES.render
    try:
        yield
    finally:
        for module, render_here in zip(modules, before, strict=True):
            module.render_jinja_template = render_here
