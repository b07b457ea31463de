"""How inputs drift as earlier layers are compressed, and what would make up for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, nullcontext, suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from harness.algebra.drift import Drift, Half
from harness.algebra.packed import add_gram, packed_zeros, unpack
from harness.errors import NonFiniteError
from harness.families.stack import Block
from harness.layers.roles import WRITING_ROLES, Role
from harness.layers.weights import LinearWeights
from harness.statistics.attention_replay import AttentionReplay
from harness.statistics.block_stream import BlockStream

ADDS = 1e-2
"""Relative deviation up to which a block counts as the sum of what it is given and its layers."""


class TwoStreams:
    """The calibration on its way through the dense blocks and, beside, through compressed ones.

    What a layer should give is what brings the compressed stream to the dense one behind it, so
    that it also makes up for what the stream has lost before. Where a block is not the sum of the
    stream and its two layers, as in post-norm models, it is the dense layer's own output.

    Each block is entered (``enter``), compressed by the caller, measured role by role
    (``measure``), and left (``leave``).
    """

    def __init__(self, dense: BlockStream, compressed: BlockStream) -> None:
        """Start before the first block of both."""
        self._dense, self._compressed = dense, compressed

    @torch.no_grad()
    def enter(self, index: int) -> None:
        """Send the dense stream through block ``index`` and keep what the layers give there."""
        self._attended = AttentionReplay(self._compressed.blocks[index])
        block = self._dense.blocks[index]
        before = list(self._dense.hidden)
        given: dict[Role, list[Tensor]] = {role: [] for role in WRITING_ROLES}
        with ExitStack() as stack:
            for role in WRITING_ROLES:
                _watch(stack, block, role, partial(_keep_output, given[role]))
            self._dense.advance(index)
        after = list(self._dense.hidden)
        given = {role: _alike(outputs, after) for role, outputs in given.items()}
        self._adds = all(
            _same(h + output + down, out)
            for h, output, down, out in zip(
                before, given["output"], given["down"], after, strict=True
            )
        )
        if self._adds:
            given["output"] = [h + y for h, y in zip(before, given["output"], strict=True)]
            given["down"] = after
        self._wanted = given

    @torch.no_grad()
    def measure(self, index: int, role: Role, layer: LinearWeights) -> Drift:
        """What ``role`` of the compressed block ``index`` receives and lacks; ``layer`` is dense.

        ``output`` comes before ``down``; from the first measurement on nothing before the block's
        output projection may change.

        Raises:
            NonFiniteError: an activation is NaN or infinite; names the layer.
        """
        block, attended = self._compressed.blocks[index], self._attended
        inputs: list[Tensor] = []
        given: list[Tensor] = []
        sums = HalfSum(layer), HalfSum(layer)
        seen = 0
        with ExitStack() as stack:
            stack.enter_context(attended.replayed() if attended else attended.recorded())
            if role == "output":
                stack.enter_context(attended.module.register_forward_hook(_stop))
            else:
                _watch(stack, block, "output", partial(_keep_output, given))
                _watch(stack, block, role, partial(_keep_input, inputs))
            for batch, wanted in enumerate(self._wanted[role]):
                with suppress(_Enough):
                    self._compressed.run(index, batch)
                target = wanted.to(torch.promote_types(wanted.dtype, torch.float32))
                before = [self._compressed.hidden[batch]]
                if role == "down":
                    before += _alike([given.pop()], before)
                if self._adds:
                    for part in before:
                        target = target - part
                # What enters a layer is wide: of the MLP it is kept of one batch at a time.
                x = attended.inner[batch] if role == "output" else inputs.pop()
                x = x.reshape(*target.shape[:-1], -1)
                mask = self._compressed.masks[batch] if block.stack.padded else None
                for sample in _samples(x, target, wanted, mask):
                    sums[seen % 2].add(*sample)
                    seen += 1
        try:
            return Drift([half.half() for half in sums if half.count])
        except NonFiniteError as error:
            raise NonFiniteError(f"{block.layer_name(role)}: {error}") from error

    def leave(self, index: int) -> None:
        """Send the compressed stream through block ``index``."""
        with self._attended.replayed() if self._attended else nullcontext():
            self._compressed.advance(index)


class HalfSum:
    """Sums over tokens of one half of the calibration, in float64.

    A token counts by the inverse of its mean square in the stream that the layer writes to, which
    is how the next norm will scale its error.
    """

    def __init__(self, layer: LinearWeights) -> None:
        d_out, d_in = layer.weight.shape
        self._layer = layer
        zeros = partial(torch.zeros, dtype=torch.float64, device=layer.weight.device)
        self.count = 0
        self._mass = 0.0
        self._origin = zeros(d_in), zeros(d_out)
        self._second, self._cross = packed_zeros(d_in, layer.weight.device), zeros(d_out, d_in)
        self._input, self._target = zeros(d_in), zeros(d_out)

    def add(self, x: Tensor, target: Tensor, stream: Tensor) -> None:
        """Add some tokens.

        Args:
            x: inputs, ``[n, d_in]``.
            target: what the layer should give, ``[n, d_out]``, in at least float32.
            stream: ``[n, d_out]``, whose mean square weighs each token.
        """
        precision = target.dtype
        x = x.to(precision)
        energy = stream.double().square().mean(-1)
        weight = torch.where(energy > 0, 1 / energy, torch.zeros_like(energy))
        if self.count == 0:
            self._origin = x.mean(0).double(), target.mean(0).double()
        self.count += len(x)
        self._mass += float(weight.sum())
        # About an origin, so that means do not drown the spread in rounding.
        x, target = x - self._origin[0].to(precision), target - self._origin[1].to(precision)
        root = weight.sqrt().to(precision)
        x, target = root[:, None] * x, root[:, None] * target
        self._input += root @ x
        self._target += root @ target
        add_gram(self._second, x)
        self._cross += target.T @ x

    def half(self) -> Half:
        """The means.

        Raises:
            NonFiniteError: an activation was NaN or infinite.
        """
        mass = self._mass or 1.0  # all streams may be zero
        a, b = self._input / mass, self._target / mass
        spread = unpack(self._second) / mass - torch.outer(a, a)
        # What is missing is the target without what the layer gives.
        W = self._layer.weight.double()
        cross = self._cross / mass - torch.outer(b, a) - W @ spread
        mean = a + self._origin[0]
        lack = b + self._origin[1] - W @ mean
        if self._layer.bias is not None:
            lack -= self._layer.bias.double()
        means = Half(
            mass,
            spread + torch.outer(mean, mean),
            cross + torch.outer(lack, mean),
            mean,
            lack,
        )
        if not all(bool(torch.isfinite(M).all()) for M in (means.second, means.cross)):
            raise NonFiniteError("its inputs hold NaN or infinity")
        return means


def _watch(stack: ExitStack, block: Block, role: Role, hook: Any) -> None:
    module = block.module.get_submodule(block.stack.path(role))
    stack.enter_context(module.register_forward_hook(hook))


class _Enough(Exception):  # noqa: N818
    """What a block does behind the layer does not matter."""


def _keep_input(kept: list[Tensor], _: nn.Module, inputs: tuple[Any, ...], __: Tensor) -> None:
    kept.append(inputs[0])
    raise _Enough


def _stop(*_: object) -> None:
    raise _Enough


def _keep_output(kept: list[Tensor], _: nn.Module, __: tuple[Any, ...], output: Tensor) -> None:
    kept.append(output)


def _alike(outputs: list[Tensor], streams: list[Tensor]) -> list[Tensor]:
    """``outputs`` in the shape of ``streams``: some families flatten what enters their MLP."""
    return [y.reshape(h.shape) for y, h in zip(outputs, streams, strict=True)]


def _samples(
    x: Tensor, target: Tensor, stream: Tensor, mask: Tensor | None
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """The real tokens of each sample; patches without samples are cut into two."""
    together = (x, target, stream)
    if x.ndim == 2:
        yield from zip(*(part.tensor_split(2) for part in together), strict=True)
        return
    for row in range(len(x)):
        real = slice(None) if mask is None else mask[row].to(x.device)
        yield x[row][real], target[row][real], stream[row][real]


def _same(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape:
        return False
    return bool((a - b).double().norm() <= ADDS * b.double().norm())
