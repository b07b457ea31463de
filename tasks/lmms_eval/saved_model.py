"""lmms-eval's own command on a saved model: ``lmms_eval --model harness``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.checkpoints.load import load_model
from harness.support.progress import silent
from tasks.lmms_eval.adapter import InMemory
from tasks.lmms_eval.settings import settings_in
from tasks.lmms_eval.task import LmmsEvalConfig

DELIMITER = "\n\n"
"""lmms-eval's own between few-shot examples; the command tells models of no other."""


class SavedModel(InMemory):
    """What ``--model_args`` names, answering as in ``harness run``.

    Args:
        pretrained: a model reference: a saved folder, or whatever else ``harness run`` takes.
        batch_size: questions per forward pass.
        device: a torch device.
        dtype: of weights and activations, by default that of the files.
        max_new_tokens: of answers, where a task leaves it open.

    Raises:
        UsageError: the model sees no images, or a task asks for what is not supported.
        AssetError: the model cannot be had or is damaged.
    """

    def __init__(
        self,
        pretrained: str,
        batch_size: int | str = 1,
        device: str = "cpu",
        dtype: Any = None,
        max_new_tokens: int = LmmsEvalConfig.max_new_tokens,
        **_: Any,  # of lmms-eval's command, meant for its own wrappers
    ) -> None:
        super().__init__(load_model(pretrained, dtype, device), {}, int(batch_size), silent)
        self.max_new_tokens = int(max_new_tokens)

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Answers to ``requests`` in their order."""
        given = {request.task_name: request.args[1] for request in requests}
        self.settings = {
            name: settings_in(kwargs, name, DELIMITER, self.max_new_tokens)
            for name, kwargs in given.items()
        }
        return super().generate_until(requests)
