"""The junction: how ``W_hat = B A`` is stored (equations 7 to 9)."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.algebra.junction import interpolation_rows
from harness.algebra.lowrank import Product, canonical
from harness.algebra.preconditioners import Preconditioner
from harness.algebra.ranks import Junction
from harness.layers.factors import (
    CompressedLinear,
    HeadIdentity,
    InputIdentity,
    LowRank,
    OutputIdentity,
)

UNSEEN = 1e-7
"""Singular values below this share of the largest are rounding errors of a Gram matrix."""


def join(
    product: Product, preconditioner: Preconditioner, junction: Junction, bias: Tensor | None
) -> CompressedLinear:
    """Store ``product`` in the form ``junction``; the map ``W_hat`` is the same for all.

    ``left`` puts the singular values into ``B`` (rows of ``A P`` orthonormal), ``right`` into
    ``A`` (columns of ``B`` orthonormal), ``symmetric`` splits them evenly; the two
    block-identity forms make ``A`` or ``B`` an identity beside a small remainder.
    """
    if junction == "block-identity":
        kept, rest, T_transposed = interpolation_rows(product.A.T)
        F = product.B @ product.A[:, kept]
        return InputIdentity(F, T_transposed.T, kept, rest, bias)
    if junction == "block-identity-output":
        kept, rest, T = interpolation_rows(product.B)
        return OutputIdentity(product.B[kept] @ product.A, T, kept, rest, bias)
    pair = canonical(product, preconditioner)
    assert pair.singular is not None
    power = {"left": 1.0, "symmetric": 0.5, "right": 0.0}[junction]
    # Directions the metric does not see have no singular value to move; they stay in A.
    seen = pair.singular > UNSEEN * pair.singular.max()
    scale = torch.where(seen, pair.singular, torch.ones_like(pair.singular)) ** power
    return LowRank(pair.B * scale, pair.A / scale[:, None], bias)


def join_heads(product: Product, heads: int, bias: Tensor | None) -> tuple[HeadIdentity, Tensor]:
    """Store ``product`` with an identity block in ``A`` and one in each head's rows of ``B``.

    Each head's output changes basis: the stored layer gives ``y_i'`` with
    ``y_i = basis_i y_i'``, which whoever reads the head must undo (the paper's ``J_i``).

    Args:
        product: ``B: [h d_h, r]`` with ``r >= d_h``.
        heads: ``h``.
        bias: of the layer in its own basis.

    Returns:
        the factor, and ``basis: [h, d_h, d_h]``.
    """
    kept, rest, T_transposed = interpolation_rows(product.A.T)
    F = (product.B @ product.A[:, kept]).unflatten(0, (heads, -1))
    columns = [interpolation_rows(rows.T) for rows in F]
    head_kept = torch.stack([kept_columns for kept_columns, _, _ in columns])
    basis = torch.stack([rows[:, chosen] for rows, chosen in zip(F, head_kept, strict=True)])
    if bias is not None:
        targets = bias.to(basis).unflatten(0, (heads, -1, 1))
        bias = (torch.linalg.pinv(basis) @ targets).flatten()
    factor = HeadIdentity(
        T_transposed.T,
        torch.stack([rest_coefficients.T for _, _, rest_coefficients in columns]),
        (kept, rest),
        (head_kept, torch.stack([rest_columns for _, rest_columns, _ in columns])),
        bias,
    )
    return factor, basis
