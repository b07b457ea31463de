"""What a compressed linear layer is, and how it runs.

Each factor is a module that computes ``y = W_hat x + bias`` without ever forming
``W_hat: [d_out, d_in]``. Its tensors are the whole of what is stored, so parameters and bytes
are counted from them. ``rest``/``kept`` permutations count as bytes, not as parameters.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from harness.layers.weights import LinearWeights


class CompressedLinear(nn.Module, ABC):
    """A linear layer in factor form; weights are frozen until somebody trains them.

    ``in_features`` and ``out_features`` are the sizes of what it reads and writes.
    ``equivalent`` is the map in the dense layer's own basis where the factor computes in
    another one (see ``HeadIdentity``); it serves reports and is not stored.
    """

    form: str
    bias: nn.Parameter | None
    equivalent: LinearWeights | None = None

    def __init__(self, in_features: int, out_features: int, bias: Tensor | None) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.bias = None if bias is None else frozen(bias)

    @property
    @abstractmethod
    def rank(self) -> int:
        """Inner dimension ``r``."""

    def weight_parameters(self) -> int:
        """Stored weights, biases not counted; also the multiply-accumulates per token."""
        return sum(p.numel() for name, p in self.named_parameters() if name != "bias")

    def interpolation_bound(self) -> float | None:
        """Largest absolute coefficient beside an identity block, None where there is none."""
        return None

    @abstractmethod
    def dense(self) -> Tensor:
        """The equivalent dense weight ``W_hat: [d_out, d_in]``."""

    def dense_bias(self) -> Tensor | None:
        """The equivalent dense layer's bias, ``[d_out]``."""
        return None if self.bias is None else self.bias.detach()


class DenseLinear(CompressedLinear):
    """A layer left as it is."""

    form = "dense"

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__(weight.shape[1], weight.shape[0], bias)
        self.weight = frozen(weight)

    @property
    def rank(self) -> int:
        """Largest rank the weight can have."""
        return min(self.weight.shape)

    def forward(self, x: Tensor) -> Tensor:
        """``y = W x + bias`` on the last dimension of ``x: [..., d_in]``."""
        return F.linear(x, self.weight, self.bias)

    def dense(self) -> Tensor:
        """The weight itself."""
        return self.weight.detach()


class Bottleneck(CompressedLinear):
    """A low-rank layer as two maps: ``x`` to its latent ``z: [..., r]``, and ``z`` to ``y``.

    ``z`` is what a latent KV cache stores. The maps ``B_i: [d_h, r]`` from it to single heads can
    be applied on the far side of an attention instead, which then runs on latents.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x: [..., d_in]`` to ``[..., d_out]``."""
        return self.expand(self.latent(x))

    @abstractmethod
    def latent(self, x: Tensor) -> Tensor:
        """``z = A x``, ``[..., d_in]`` to ``[..., r]``."""

    @abstractmethod
    def expand(self, z: Tensor) -> Tensor:
        """``y = B z + bias``, ``[..., r]`` to ``[..., d_out]``."""

    @abstractmethod
    def decompression(self) -> Tensor:
        """``B: [d_out, r]``."""

    def absorb(self, queries: Tensor) -> Tensor:
        """``B_i^T q`` for the queries ``[batch, h, n, d_h]`` of each head: ``[batch, h, n, r]``."""
        B = self.decompression().unflatten(0, (queries.shape[1], -1))
        return torch.einsum("bhnd,hdr->bhnr", queries, B)

    def expand_heads(self, z: Tensor) -> Tensor:
        """``B_i z + b_i`` for latents ``[batch, h, n, r]`` of each head: ``[batch, h, n, d_h]``."""
        B = self.decompression().unflatten(0, (z.shape[1], -1))
        rows = z.transpose(0, 1).flatten(1, 2) @ B.mT
        return self._add_head_bias(rows.unflatten(1, z.shape[::2]).transpose(0, 1))

    def _add_head_bias(self, y: Tensor) -> Tensor:
        return y if self.bias is None else y + self.bias.view(y.shape[1], 1, -1)


class LowRank(Bottleneck):
    """``y = B (A x) + bias`` with ``B: [d_out, r]``, ``A: [r, d_in]``; ``r (d_out + d_in)``."""

    form = "plain"

    def __init__(self, B: Tensor, A: Tensor, bias: Tensor | None) -> None:
        super().__init__(A.shape[1], len(B), bias)
        self.B = frozen(B)
        self.A = frozen(A)

    @property
    def rank(self) -> int:
        """Inner dimension ``r``."""
        return self.A.shape[0]

    def latent(self, x: Tensor) -> Tensor:
        """``A x``."""
        return F.linear(x, self.A)

    def expand(self, z: Tensor) -> Tensor:
        """``B z + bias``."""
        return F.linear(z, self.B, self.bias)

    def decompression(self) -> Tensor:
        """``B`` itself."""
        return self.B

    def dense(self) -> Tensor:
        """``B A``."""
        return (self.B @ self.A).detach()


class _BlockIdentity(Bottleneck):
    """A low-rank layer one of whose factors holds an identity block; ``r (d_out+d_in) - r^2``.

    ``F`` is the full factor, ``T`` what remains of the other one beside its identity block,
    ``kept: [r]`` the coordinates the identity block reads or writes, ``rest`` the others.
    """

    kept: Tensor
    rest: Tensor

    def __init__(
        self,
        sizes: tuple[int, int],
        F: Tensor,
        T: Tensor,
        kept: Tensor,
        rest: Tensor,
        bias: Tensor | None,
    ) -> None:
        super().__init__(*sizes, bias)
        self.F = frozen(F)
        self.T = frozen(T)
        self.register_buffer("kept", kept.to(torch.int32))
        self.register_buffer("rest", rest.to(torch.int32))

    @property
    def rank(self) -> int:
        """Inner dimension ``r``."""
        return self.kept.numel()

    def interpolation_bound(self) -> float:
        """Largest absolute entry of ``T``; small means safe in half precision."""
        return float(self.T.abs().max()) if self.T.numel() else 0.0


class InputIdentity(_BlockIdentity):
    """``y = F (x[kept] + T x[rest]) + bias``; ``F: [d_out, r]``, ``T: [r, d_in - r]``."""

    form = "block-identity"

    def __init__(
        self, F: Tensor, T: Tensor, kept: Tensor, rest: Tensor, bias: Tensor | None
    ) -> None:
        super().__init__((kept.numel() + rest.numel(), len(F)), F, T, kept, rest, bias)

    def latent(self, x: Tensor) -> Tensor:
        """``x[kept] + T x[rest]``."""
        return _gathered(x, self.kept) + F.linear(_gathered(x, self.rest), self.T)

    def expand(self, z: Tensor) -> Tensor:
        """``F z + bias``."""
        return F.linear(z, self.F, self.bias)

    def decompression(self) -> Tensor:
        """``F`` itself."""
        return self.F

    def dense(self) -> Tensor:
        """``F [I T]`` with its columns put back in order."""
        weight = self.F.new_empty(self.F.shape[0], self.kept.numel() + self.rest.numel())
        weight[:, self.kept.long()] = self.F
        weight[:, self.rest.long()] = self.F @ self.T
        return weight.detach()


class HeadIdentity(Bottleneck):
    """A low-rank layer with an identity block in ``A`` and one in each head's part of ``B``.

    ``z = x[kept] + T x[rest]``, then per head ``i``: ``y_i = z[head_kept_i] + U_i z[head_rest_i]``
    and ``y = concat(y_i) + bias``. Shapes ``T: [r, d_in - r]``, ``U: [h, d_h, r - d_h]``,
    ``head_kept: [h, d_h]``, ``head_rest: [h, r - d_h]``; ``r (d_out + d_in) - r^2 - h d_h^2``.
    """

    form = "head-identity"
    kept: Tensor
    rest: Tensor
    head_kept: Tensor
    head_rest: Tensor

    def __init__(
        self,
        T: Tensor,
        U: Tensor,
        columns: tuple[Tensor, Tensor],
        head_columns: tuple[Tensor, Tensor],
        bias: Tensor | None,
    ) -> None:
        kept, rest = columns
        super().__init__(kept.numel() + rest.numel(), head_columns[0].numel(), bias)
        self.T = frozen(T)
        self.U = frozen(U)
        for name, index in zip(
            ("kept", "rest", "head_kept", "head_rest"), (*columns, *head_columns), strict=True
        ):
            self.register_buffer(name, index.to(torch.int32))

    @property
    def rank(self) -> int:
        """Inner dimension ``r``."""
        return self.kept.numel()

    def interpolation_bound(self) -> float:
        """Largest absolute entry of ``T`` and ``U``."""
        return max(float(M.abs().max()) if M.numel() else 0.0 for M in (self.T, self.U))

    def latent(self, x: Tensor) -> Tensor:
        """``x[kept] + T x[rest]``."""
        return _gathered(x, self.kept) + F.linear(_gathered(x, self.rest), self.T)

    def expand(self, z: Tensor) -> Tensor:
        """Each head's kept coordinates of ``z`` plus ``U_i`` times the others, plus bias."""
        y = _gathered(z, self.head_kept.flatten())
        others = _gathered(z, self.head_rest.flatten())
        others = others.unflatten(-1, self.head_rest.shape)
        y = y + torch.einsum("hdk,...hk->...hd", self.U, others).flatten(-2)
        return y if self.bias is None else y + self.bias

    def decompression(self) -> Tensor:
        """The columns of the identity matrix, expanded."""
        B = self.expand(torch.eye(self.rank, dtype=self.T.dtype, device=self.T.device))
        return (B if self.bias is None else B - self.bias).T

    def absorb(self, queries: Tensor) -> Tensor:
        """The queries in each head's kept coordinates, ``U_i^T q`` in the others."""
        others = torch.einsum("bhnd,hdk->bhnk", queries, self.U)
        order = torch.cat([self.head_kept, self.head_rest], -1).long()[None, :, None]
        placed = torch.cat([queries, others], -1)
        return torch.empty_like(placed).scatter_(-1, order.expand(placed.shape), placed)

    def expand_heads(self, z: Tensor) -> Tensor:
        """``z_i[head_kept_i] + U_i z_i[head_rest_i] + b_i``."""
        kept, others = (
            z.gather(-1, index.long()[None, :, None].expand(*z.shape[:3], -1))
            for index in (self.head_kept, self.head_rest)
        )
        return self._add_head_bias(kept + torch.einsum("hdk,bhnk->bhnd", self.U, others))

    def dense(self) -> Tensor:
        """The columns of the identity matrix, sent through the layer."""
        size = self.kept.numel() + self.rest.numel()
        weight = self(torch.eye(size, dtype=self.T.dtype, device=self.T.device))
        if self.bias is not None:
            weight = weight - self.bias
        return weight.T.detach()


class OutputIdentity(_BlockIdentity):
    """``z = F x; y[kept] = z, y[rest] = T z``; ``F: [r, d_in]``, ``T: [d_out - r, r]``."""

    form = "block-identity-output"
    inverse: Tensor

    def __init__(
        self, F: Tensor, T: Tensor, kept: Tensor, rest: Tensor, bias: Tensor | None
    ) -> None:
        super().__init__((F.shape[1], kept.numel() + rest.numel()), F, T, kept, rest, bias)
        self.register_buffer("inverse", None, persistent=False)
        self.restore()

    def restore(self) -> None:
        """Derive ``inverse``, which is not stored, from ``kept`` and ``rest``."""
        self.inverse = torch.cat([self.kept, self.rest]).argsort()

    def latent(self, x: Tensor) -> Tensor:
        """``F x``."""
        return F.linear(x, self.F)

    def expand(self, z: Tensor) -> Tensor:
        """``z`` beside ``T z``, put back in order, plus bias."""
        y = _gathered(torch.cat([z, F.linear(z, self.T)], dim=-1), self.inverse)
        return y if self.bias is None else y + self.bias

    def decompression(self) -> Tensor:
        """``[I; T]`` with its rows put back in order."""
        identity = torch.eye(self.rank, dtype=self.T.dtype, device=self.T.device)
        return torch.cat([identity, self.T])[self.inverse]

    def dense(self) -> Tensor:
        """``[I; T] F`` with its rows put back in order."""
        return torch.cat([self.F, self.T @ self.F])[self.inverse].detach()


def stored_bytes(module: nn.Module) -> int:
    """Bytes of all distinct tensors ``module`` saves: parameters and persistent buffers."""
    tensors = {id(t): t for t in module.state_dict(keep_vars=True).values()}
    return sum(t.numel() * t.element_size() for t in tensors.values())


def _gathered(x: Tensor, index: Tensor) -> Tensor:
    """``x[..., index]``; from a matrix a processor gathers ten times faster than from more."""
    return x.reshape(-1, x.shape[-1]).index_select(-1, index).view(*x.shape[:-1], len(index))


def frozen(tensor: Tensor) -> nn.Parameter:
    """A parameter that is not trained."""
    return nn.Parameter(tensor.contiguous(), requires_grad=False)
