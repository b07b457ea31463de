"""Hooks that gather the statistics of one decoder block while it runs."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from harness.errors import NonFiniteError, UsageError
from harness.families.stack import Block
from harness.layers.roles import SITE_OF_ROLE, Role, Site
from harness.statistics.block_statistics import BlockStatistics
from harness.statistics.moments import MomentAccumulator, widened
from harness.statistics.packed_moments import PackedMoments
from harness.statistics.sample import TokenSample

MLP_TOKENS = 8192
"""Most tokens kept per block for methods that refit the MLP."""


class BlockObserver:
    """Accumulates moments of every distinct activation inside ``block``.

    Set ``mask: [batch, length]`` (bool) before each forward pass; only tokens where it is true
    count. A vision tower has no padding, there all tokens count. Use as a context manager: the
    hooks live no longer than that.
    """

    mask: Tensor

    def __init__(self, block: Block, keep_mlp_tokens: bool, *, compared: bool = False) -> None:
        """Samples are ``compared`` where they pass one at a time."""
        self._block = block
        self._compared = compared
        self._stack = block.stack
        self._moments: dict[Site, MomentAccumulator] = {}
        self._sample = TokenSample(MLP_TOKENS) if keep_mlp_tokens else None
        self._inverse_norms: dict[str, tuple[int, Tensor]] = {}
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Self:
        watched = {SITE_OF_ROLE[role]: self._stack.path(role) for role in self._stack.layers}
        for site, path in watched.items():
            self._watch(path, self._moment_hook(site, path))
        for norm in (self._stack.query_norm, self._stack.key_norm):
            if norm is not None:
                self._watch(norm, self._norm_hook(norm))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def confirmed(self) -> dict[Role | Site, float]:
        """What other samples confirm of the correlations in each activation, if ``compared``."""
        return {site: moments.confirmed() for site, moments in self._moments.items()}

    def statistics(self) -> BlockStatistics:
        """What was seen; the accumulators are spent.

        Raises:
            UsageError: no token was seen.
        """
        if not self._moments:
            raise UsageError(
                f"nothing in the calibration reaches {self._block.name}; calibrate a vision "
                "tower on questions with images, e.g. --calibration scienceqa"
            )
        norms = {path: total / count for path, (count, total) in self._inverse_norms.items()}
        query, key = self._stack.query_norm, self._stack.key_norm
        return BlockStatistics(
            moments=PackedMoments(
                {site: self._moments.pop(site).packed() for site in [*self._moments]}
            ),
            mlp_tokens=self._sample.tokens() if self._sample else None,
            inverse_norms=(norms[query], norms[key]) if query and key else None,
        )

    def _watch(self, path: str, hook: Callable[[nn.Module, tuple[Any, ...]], None]) -> None:
        module = self._block.module.get_submodule(path)
        self._handles.append(module.register_forward_pre_hook(hook))

    def _moment_hook(self, site: Site, path: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def hook(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            x = inputs[0].detach()
            tokens = self._counting(x.reshape(-1, x.shape[-1]))
            if site not in self._moments:
                self._moments[site] = MomentAccumulator(
                    x.shape[-1], x.device, compared=self._compared
                )
            try:
                self._moments[site].add(tokens)
            except NonFiniteError as error:
                raise NonFiniteError(f"input of {self._block.name}.{path}: {error}") from error
            if site == "mlp_input" and self._sample is not None:
                self._sample.add(widened(tokens))

        return hook

    def _norm_hook(self, path: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def hook(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            heads = self._counting(inputs[0].detach().flatten(0, 1)).double()
            inverse = heads.square().mean(-1).clamp_min(1e-12).rsqrt().sum(0)
            count, total = self._inverse_norms.get(path, (0, torch.zeros_like(inverse)))
            self._inverse_norms[path] = (count + len(heads), total + inverse)

        return hook

    def _counting(self, tokens: Tensor) -> Tensor:
        if not self._stack.padded or bool(self.mask.all()):
            return tokens
        return tokens[self.mask.flatten().to(tokens.device)]
