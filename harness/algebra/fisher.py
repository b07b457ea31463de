"""Random gradients whose second moment is the Fisher information of what a model predicts.

Close to a model that predicts ``p`` the Kullback-Leibler divergence from it is half the quadratic
form ``diag(p) - p p^T`` of the change in its logits. Gradients of the log loss of labels drawn from
``p`` have this second moment, and those of a text's own labels have it where the model is right.
Either comes in rare large pieces wherever one label is likely. Signs are drawn here instead
(Hutchinson, 1990), so that every prediction tells about as much as any other.
"""

from __future__ import annotations

import torch
from torch import Tensor


def random_signs(positions: int, vocabulary: int, generator: torch.Generator) -> Tensor:
    """1 or -1, each as likely, ``[positions, vocabulary]``, int8, on the generator's device."""
    shape = (positions, vocabulary)
    bits = torch.randint(2, shape, generator=generator, dtype=torch.int8, device=generator.device)
    return bits.mul_(2).sub_(1)


def probe(logits: Tensor, signs: Tensor) -> Tensor:
    """``sqrt(p) * s - p <sqrt(p), s>``, of which ``E[u u^T] = diag(p) - p p^T``.

    Args:
        logits: ``[n, vocabulary]``; ``p`` is their softmax.
        signs: independent and each of mean 0, ``[n, vocabulary]``.

    Returns:
        ``[n, vocabulary]``, at least float32; every row sums to zero.
    """
    p = logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(-1)
    u = p.sqrt()
    along = (u * signs).sum(-1, keepdim=True)
    return u.mul_(signs).sub_(p.mul_(along))
