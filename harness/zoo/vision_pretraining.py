"""Pretraining of the vision tower by linear probes, before the model learns to answer.

One linear layer on each image token says which letter, in which colour, lies in its cell of a
picture with words; others on the mean of all image tokens name the number, direction, shape or
colour that a picture shows. These layers are thrown away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor, nn
from torch.nn import functional

from harness.datasets import easy_vqa, mini_scienceqa, mini_textvqa
from harness.datasets.deterministic import seeded_random
from harness.datasets.picture_skills import DIRECTIONS, NUMBERS
from harness.support.progress import Tracker
from harness.zoo.encoding import TOKENS, pixels_of

LETTERS = " ABCDEFGHIJKLMNOPQRSTUVWXYZ"
INKS = ("", *mini_textvqa.INKS)
KINDS = {
    "number": NUMBERS,
    "direction": tuple(DIRECTIONS),
    "shape": ("rectangle", "circle", "triangle"),
    "colour": ("black", "gray", "red", "green", "blue", "yellow", "teal", "brown"),
}
PICTURES = 24
"""Pictures of each source in a step."""
_NOTHING = -100


@dataclass(frozen=True)
class LabelledPicture:
    """A picture, the name of what it shows by kind, and its writing."""

    picture: Image
    names: dict[str, str] = field(default_factory=dict)
    lines: tuple[mini_textvqa.Line, ...] | None = None

    def cells(self) -> tuple[list[int], list[int]]:
        """Letter and colour of each cell, row by row; nothing where writing is not the matter."""
        if self.lines is None:
            return [_NOTHING] * TOKENS, [_NOTHING] * TOKENS
        letters, inks = [0] * TOKENS, [0] * TOKENS
        for line in self.lines:
            for offset, letter in enumerate(line.word):
                cell = mini_textvqa.COLUMNS * line.row + line.column + offset
                letters[cell], inks[cell] = LETTERS.index(letter), INKS.index(line.ink)
        return letters, inks


class Probes(nn.Module):
    """What is thrown away afterwards; ``width`` is the size of an image token."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.letter = nn.Linear(width, len(LETTERS))
        self.ink = nn.Linear(width, len(INKS))
        self.kinds = nn.ModuleDict(
            {kind: nn.Linear(width, len(names)) for kind, names in KINDS.items()}
        )

    def loss(self, tokens: Tensor, pictures: Sequence[LabelledPicture]) -> Tensor:
        """Sum of the mean cross-entropies of all probes; ``tokens: [pictures, 16, width]``."""
        letters, inks = zip(*(picture.cells() for picture in pictures), strict=True)
        terms = [
            _cross_entropy(self.letter(tokens), torch.tensor(letters)),
            _cross_entropy(self.ink(tokens), torch.tensor(inks)),
        ]
        for kind, head in self.kinds.items():
            shown = [picture.names.get(kind) for picture in pictures]
            wanted = [KINDS[kind].index(name) if name else _NOTHING for name in shown]
            terms.append(_cross_entropy(head(tokens.mean(1)), torch.tensor(wanted)))
        return torch.stack(terms).sum()


def pretrain_vision(model: Any, processor: Any, steps: int, seed: int, track: Tracker) -> float:
    """Train the vision tower of ``model`` in place, deterministically by ``seed``.

    Returns:
        The loss of the last step.
    """
    torch.manual_seed(seed)
    tower = vision_tower(model)
    probes = Probes(_tokens(model, processor, [_written(seeded_random(seed)).picture]).shape[-1])
    parameters = [*tower.parameters(), *probes.parameters()]
    optimizer = torch.optim.AdamW(parameters, weight_decay=0.05, betas=(0.9, 0.98), fused=True)
    last = float("nan")
    for step in track(range(steps), "vision pretraining", steps):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1.0, (step + 1) / 50) * (1 - step / (steps + 1))
        batch = labelled_pictures(seeded_random("looking", seed, step))
        with torch.autocast("cpu", torch.bfloat16):
            tokens = _tokens(model, processor, [labelled.picture for labelled in batch])
        loss = probes.loss(tokens.float(), batch)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        last = loss.item()
    return last


def vision_tower(model: Any) -> nn.Module:
    """The part of a vision-language model that sees."""
    inner = model.model
    tower: nn.Module = inner.vision_tower if hasattr(inner, "vision_tower") else inner.visual
    return tower


def labelled_pictures(rng: Random) -> list[LabelledPicture]:
    """What a step looks at: writing, pictures of mini-scienceqa, and of easy-VQA."""
    pictures = [_written(rng) for _ in range(PICTURES)]
    pictures += [_scene(rng) for _ in range(PICTURES)]
    return pictures + rng.sample(_shapes(), PICTURES)


def _tokens(model: Any, processor: Any, pictures: Sequence[Image]) -> Tensor:
    """What the decoder gets to see, ``[pictures, 16, width]``."""
    inputs = pixels_of(processor, pictures)
    tower = vision_tower(model)
    if "image_grid_thw" in inputs:
        merged = tower(inputs["pixel_values"], grid_thw=inputs["image_grid_thw"]).pooler_output
        return merged.view(len(pictures), TOKENS, -1)
    return tower(inputs["pixel_values"]).last_hidden_state[:, 1:]


def _written(rng: Random) -> LabelledPicture:
    placed = mini_textvqa.lines(rng, "train")
    return LabelledPicture(mini_textvqa.draw_lines(rng, placed), lines=tuple(placed))


def _scene(rng: Random) -> LabelledPicture:
    while True:
        row = mini_scienceqa.question("train", rng.getrandbits(40))
        name = row["choices"][row["answer"]]
        for kind in ("number", "direction"):
            if row["image"] and name in KINDS[kind]:
                return LabelledPicture(row["image"], {kind: name})


@cache
def _shapes() -> list[LabelledPicture]:
    """Pictures of easy-VQA's training split and what its questions say of them."""
    named: dict[int, dict[str, str]] = {}
    pictures: dict[int, Image] = {}
    for row in easy_vqa.training():
        for kind in ("shape", "colour"):
            if row.answer in KINDS[kind]:
                named.setdefault(row.image_id, {})[kind] = row.answer
                pictures.setdefault(row.image_id, row.image)
    return [LabelledPicture(pictures[image], names) for image, names in named.items()]


def _cross_entropy(scores: Tensor, wanted: Tensor) -> Tensor:
    count = (wanted != _NOTHING).sum().clamp_min(1)
    return (
        functional.cross_entropy(
            scores.flatten(0, -2), wanted.flatten(), ignore_index=_NOTHING, reduction="sum"
        )
        / count
    )
