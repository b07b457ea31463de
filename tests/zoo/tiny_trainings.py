"""Training small enough for a test."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from harness.zoo.training import Progress, Schedule, train

SCHEDULE = Schedule(steps=6, learning_rate=3e-2, warmup=2, weight_decay=0.1, seed=3, check_every=2)


class Dropping(nn.Module):
    """A micro model that draws random numbers in every step."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=16,
            hidden_size=8,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            attention_dropout=0.5,
            tie_word_embeddings=True,
        )
        self.language_model = LlamaForCausalLM(config)

    def forward(self, ids: Tensor) -> Tensor:
        return self.language_model(input_ids=ids, labels=ids).loss


class Counting:
    """Counting from a random start, two terms a step."""

    def losses(self, model: nn.Module, step: int) -> Iterable[Tensor]:
        rng = torch.Generator().manual_seed(step)
        for _ in range(2):
            starts = torch.randint(0, 16, (8, 1), generator=rng)
            yield model((starts + torch.arange(5)) % 16) / 2

    @torch.no_grad()
    def validate(self, model: nn.Module) -> dict[str, float]:
        return {"loss": model(torch.arange(10).view(2, 5)).item()}


def trained(folder: Path, *stops: int) -> tuple[dict[str, Tensor], Progress]:
    """Weights after training with a kill at each of ``stops``."""
    for stop in (*stops, None):
        model = Dropping()
        progress = train(model, Counting(), SCHEDULE, folder, until=stop)
    return model.state_dict(), progress
