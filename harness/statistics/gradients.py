"""Moments of the gradient that comes back to the output of every linear layer.

What is sent back from each prediction is drawn so that its second moment is the Fisher information
(see ``harness.algebra.fisher``): the loss is the divergence from what the model itself predicts,
summed over the calibration. No weight is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from harness.algebra.fisher import probe, random_signs
from harness.algebra.packed import packed_zeros
from harness.calibration.text import Calibration, Inputs
from harness.errors import InfrastructureError, NonFiniteError, UsageError
from harness.families.stack import Block
from harness.layers.fused import Part
from harness.layers.roles import Role, Site
from harness.statistics.block_statistics import BackwardStatistics
from harness.statistics.checkpointing import KeptActivations
from harness.statistics.moments import MomentAccumulator, Moments, widened
from harness.statistics.packed_moments import PackedMoments
from harness.support.malloc import return_gaps
from harness.support.out_of_memory import out_of_memory
from harness.support.progress import Tracker

POSITIONS_AT_ONCE = 64
"""Predictions whose probes are made together."""

SEED = 0
"""Of the probes, which are drawn on the CPU: the same on every device."""


@torch.enable_grad()
def collect_gradients(
    model: PreTrainedModel,
    blocks: Sequence[Block],
    calibration: Calibration,
    track: Tracker,
    watching: Callable[[Inputs], AbstractContextManager[None]] = lambda _: nullcontext(),
) -> list[BackwardStatistics]:
    """What comes back to each of ``blocks`` from all predictions, over all tokens.

    One sample at a time passes through the model and back (see ``checkpointing`` for
    what it needs in memory), on its way there within ``watching``.

    Raises:
        InfrastructureError: one sample does not fit in memory.
        NonFiniteError: a prediction or a gradient is NaN or infinite.
        UsageError: no prediction depends on a layer.
    """
    with ExitStack() as stack:
        stack.enter_context(_frozen(model))
        observers = [GradientObserver(block) for block in blocks]
        for observer in observers:
            observer.watch(stack)
        kept = KeptActivations(model)
        for block in blocks:
            block.module.forward = partial(kept.run, block.module.forward)
            stack.callback(delattr, block.module, "forward")
        generator = torch.Generator().manual_seed(SEED)
        batches = calibration.graded(1, model.device)
        for inputs, graded in track(batches, "differentiating", len(calibration)):
            kept.begin()
            for observer in observers:
                observer.begin(inputs["attention_mask"].bool())
            try:
                with watching(inputs):
                    logits = model(**inputs, use_cache=False).logits
                for observer in observers:
                    observer.recording = False
                return_gaps()  # among the activations that wait
                if logits.requires_grad:
                    logits.backward(_probes(logits, inputs, graded, generator))
                del logits  # which the next pass has no room for
            except Exception as error:
                if not out_of_memory(error):
                    raise
                raise InfrastructureError(
                    "one calibration sample does not fit in memory on its way back through the "
                    "model; pass a smaller --length or --dtype bfloat16"
                ) from error
    seen = [observer.seen() for observer in observers]
    if not any(bool(known.second.any()) for block in seen for known in block.gradients.values()):
        raise UsageError(
            "what the model predicts over the calibration has no gradient at any layer; pass "
            "--dtype bfloat16 or float32 if it is float16, in which small gradients vanish, or "
            "another calibration"
        )
    return seen


class GradientObserver:
    """Accumulates gradient moments of the layers of ``block``; fused ones are taken apart.

    Call ``begin`` before each forward pass and clear ``recording`` after it, since checkpointed
    blocks run once more on the way back.
    """

    recording: bool

    def __init__(self, block: Block) -> None:
        self._block = block
        self._roles: dict[str, list[Role]] = {}
        for role in block.stack.layers:
            self._roles.setdefault(block.stack.path(role), []).append(role)
        # Made beforehand: among the tensors of a pass they would leave gaps between them.
        self._moments = {role: self._accumulator(role) for role in block.stack.layers}
        self._down = block.stack.path("down")
        down = self._linear("down")
        self._influence = torch.zeros(
            down.in_features, dtype=torch.float64, device=down.weight.device
        )

    def watch(self, stack: ExitStack) -> None:
        """Hook the layers for as long as ``stack`` is open."""
        for path in self._roles:
            module = self._block.module.get_submodule(path)
            stack.enter_context(module.register_forward_hook(partial(self._hook, path)))

    def begin(self, mask: Tensor) -> None:
        """Expect a forward pass whose real tokens are where ``mask: [batch, length]`` is true."""
        self._mask = mask.flatten()
        self.recording = True

    def seen(self) -> BackwardStatistics:
        """What was seen; the accumulators are spent."""
        confirmed: dict[Role | Site, float] = {
            role: moments.confirmed() for role, moments in self._moments.items()
        }
        gradients = {
            role: _moments_of(self._moments.pop(role)) for role in self._block.stack.layers
        }
        # What no gradient reached has no influence.
        influence = self._influence / max(gradients["down"].count, 1)
        return BackwardStatistics(PackedMoments(gradients), confirmed, influence)

    def _hook(self, path: str, _: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        if not output.requires_grad:
            output.requires_grad_()
        if not self.recording:
            return
        output.register_hook(partial(self._add, path))
        if path == self._down:
            inputs[0].register_hook(partial(self._add_influence, inputs[0].detach()))

    def _counting(self, x: Tensor) -> Tensor:
        tokens = x.flatten(0, -2)
        return tokens[self._mask] if self._block.stack.padded else tokens

    def _add(self, path: str, gradient: Tensor) -> None:
        tokens = self._counting(gradient)
        for role in self._roles[path]:
            layer = self._block.stack.layers[role]
            part = tokens
            if isinstance(layer, Part):
                part = tokens.chunk(layer.count, -1)[layer.index]
            try:
                self._moments[role].add(part)
            except NonFiniteError as error:
                raise NonFiniteError(
                    f"the gradient at {self._block.name}.{path} is NaN or infinite"
                ) from error

    def _add_influence(self, neurons: Tensor, gradient: Tensor) -> None:
        carried, back = (widened(self._counting(x)) for x in (neurons, gradient))
        self._influence += (carried * back).square().sum(0, dtype=torch.float64)

    def _accumulator(self, role: Role) -> MomentAccumulator:
        layer, module = self._block.stack.layers[role], self._linear(role)
        parts = layer.count if isinstance(layer, Part) else 1
        size, device = module.out_features // parts, module.weight.device
        return MomentAccumulator(size, device, centred=False, compared=True)

    def _linear(self, role: Role) -> nn.Linear:
        module = self._block.module.get_submodule(self._block.stack.path(role))
        assert isinstance(module, nn.Linear)
        return module


def _moments_of(accumulator: MomentAccumulator) -> Moments:
    """Folded moments, zero where no gradient arrived."""
    if accumulator.count:
        return accumulator.packed()
    nothing = packed_zeros(accumulator.size, accumulator.device)
    return Moments(0, nothing, nothing[0].clone(), nothing[0].clone())


def _probes(logits: Tensor, inputs: Inputs, graded: Tensor, generator: torch.Generator) -> Tensor:
    """What is sent back from the predictions of the tokens in ``graded``, zero elsewhere.

    It takes the logits' place, a few positions at a time: beside them it would outweigh the model.
    """
    sent = logits.detach()
    wanted = graded[:, 1:] & inputs["attention_mask"][:, :-1].bool()
    wanted = nn.functional.pad(wanted, (0, 1)).to(sent.device)
    for row, place in enumerate(wanted):
        sent[row, ~place] = 0
        for positions in place.nonzero().flatten().split(POSITIONS_AT_ONCE):
            signs = random_signs(len(positions), sent.shape[-1], generator).to(sent.device)
            probes = probe(sent[row, positions], signs)
            if not bool(torch.isfinite(probes).all()):
                raise NonFiniteError(
                    "what the model predicts over the calibration is NaN or infinite"
                )
            sent[row, positions] = probes.to(sent.dtype)
    return sent


@contextmanager
def _frozen(model: PreTrainedModel) -> Iterator[None]:
    """No gradients of weights; tied and frozen ones come back as they were."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    for weight in trained:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in trained:
            weight.requires_grad_()
