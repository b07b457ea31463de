"""Joint compression of value and output (appendix, equations 182 to 195).

``Wo_i: [d, d_h]`` are the columns of the output projection that read query head ``i``,
``V_j = Wv_j P: [d_h, d]`` the whitened value heads, each shared by a group of query heads.
"""

from __future__ import annotations

from torch import Tensor

from harness.algebra.spectral import leading_rows, symmetric_root


def joint_value_output(
    O: Tensor,  # noqa: E741
    V: Tensor,
    value_mean: Tensor,
    ranks: tuple[int, int],
    iterations: int,
) -> tuple[Tensor, Tensor, tuple[float, ...]]:
    """Minimise ``sum_i ||O_i V_i - Bo Bo^T O_i V_i Av^T Av||^2`` by alternation.

    Args:
        O: ``[h, d, d_h]``.
        V: ``[h_kv, d_h, d]``.
        value_mean: ``[h_kv, d_h]`` mean value that the output bias will not absorb; zero when
            moments are not centred or the output has a bias.
        ranks: ``(r_v, r_o)``.
        iterations: rounds after the first.

    Returns:
        ``Av: [r_v, d]`` with orthonormal rows, ``Bo: [d, r_o]`` with orthonormal columns, and
        the loss after each round, which never rises.
    """
    value_rank, output_rank = ranks
    group = len(O) // len(V)
    mean_energy = value_mean[:, :, None] * value_mean[:, None, :]

    def output_basis(projected: Tensor) -> Tensor:
        moment = symmetric_root(projected @ projected.mT + mean_energy)
        return leading_rows((O @ moment.repeat_interleave(group, 0)).mT.flatten(0, 1), output_rank)[
            0
        ].T

    def energy(outputs: Tensor, values: Tensor) -> Tensor:
        moment = (values @ values.mT + mean_energy).repeat_interleave(group, 0)
        return (outputs.mT @ outputs * moment).sum()

    whole = energy(O, V)
    output = output_basis(V)
    value = value_basis(output.T @ O, V, value_rank)
    losses = [float(whole - energy(output.T @ O, V @ value.T))]
    for _ in range(iterations):
        output = output_basis(V @ value.T)
        value = value_basis(output.T @ O, V, value_rank)
        losses.append(float(whole - energy(output.T @ O, V @ value.T)))
    return value, output, tuple(losses)


def value_basis(projected_outputs: Tensor, V: Tensor, rank: int) -> Tensor:
    """Leading eigenvectors of ``sum_i V_i^T (O_i^T Bo Bo^T O_i) V_i``, ``[rank, d]``.

    Args:
        projected_outputs: ``Bo^T O_i``, ``[h, r_o, d_h]``.
        V: ``[h_kv, d_h, d]``.
        rank: ``r_v``.
    """
    moment = (projected_outputs.mT @ projected_outputs).unflatten(0, (len(V), -1)).sum(1)
    return leading_rows((symmetric_root(moment) @ V).flatten(0, 1), rank)[0]
