"""Attention that has run and need not run again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from harness.families.stack import Block
from harness.statistics.block_stream import replaced_forward


class AttentionReplay:
    """What enters the output projection of a block's attention, of each batch in turn.

    As long as nothing before that projection changes, it stands for the whole attention; true once
    it does.

    Attributes:
        inner: of each batch.
    """

    def __init__(self, block: Block) -> None:
        self._block = block
        self.inner: list[Tensor] = []
        self._returned: Callable[[Tensor], Any] | None = None

    def __bool__(self) -> bool:
        return self._returned is not None

    @property
    def module(self) -> nn.Module:
        """The attention."""
        return self._block.module.get_submodule(self._block.stack.attention)

    @property
    def projection(self) -> nn.Module:
        """The output projection as it is now."""
        return self._block.module.get_submodule(self._block.stack.path("output"))

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """While open the attention runs as it is, once for each batch."""
        self.inner.clear()
        given: list[Tensor] = []

        def projected(_: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            self.inner.append(inputs[0])
            given.append(output)

        def attended(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
            self._returned = _around(given.pop(), output)

        with (
            self.projection.register_forward_hook(projected),
            self.module.register_forward_hook(attended),
        ):
            yield

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """While open the attention gives for each batch what the projection makes of it now."""
        returned, waiting = self._returned, iter(self.inner)
        assert returned is not None
        with replaced_forward(
            self.module, lambda *_, **__: returned(self.projection(next(waiting)))
        ):
            yield


def _around(projected: Tensor, returned: Any) -> Callable[[Tensor], Any] | None:
    """How an attention returns what its projection gives; None if that is something else.

    Weights of the attention, which may stand beside it, are left out.
    """
    if returned is projected:
        return lambda y: y
    places = [part is projected for part in returned] if isinstance(returned, tuple) else []
    return (lambda y: tuple(y if here else None for here in places)) if any(places) else None
