"""Time to factorise the layers of a model's blocks: ours against the textbook route.

The textbook route takes the symmetric root of each layer's second moment and its inverse by
eigendecomposition, the singular value decomposition of ``W C^(1/2)``, and multiplies back. Ours
shares one preconditioner among the layers that read the same input and takes the leading output
directions from the smaller Gram matrix. Both work in double precision, end with two factors and
must reach the same loss. What the block-identity form costs on top is timed too.

Time is that of the processor, on one thread: on a machine that others use too, the clock on the
wall measures them. ``--wall`` takes the wall's all the same, for more threads.

    python benchmarks/factorisation.py --blocks 2 --rounds 3
    python benchmarks/factorisation.py --shape opt-1.3b --rounds 1
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from harness.algebra.lowrank import best_product, quadratic_loss
from harness.algebra.preconditioners import damped, root_covariance
from harness.algebra.ranks import rank_for
from harness.layers.junction import join
from harness.layers.roles import SITE_OF_ROLE, Role, Site

Shapes = dict[Role, tuple[int, int]]


def shapes(hidden: int, keys: int, inner: int, *, gated: bool) -> Shapes:
    """``(d_out, d_in)`` of a block's layers; ``keys`` is how wide keys and values are."""
    found: Shapes = {
        "query": (hidden, hidden),
        "key": (keys, hidden),
        "value": (keys, hidden),
        "output": (hidden, hidden),
        "gate": (inner, hidden),
        "up": (inner, hidden),
        "down": (hidden, inner),
    }
    return found if gated else {role: shape for role, shape in found.items() if role != "gate"}


SHAPES: dict[str, Shapes] = {
    "smollm2-135m": shapes(576, 192, 1536, gated=True),
    "opt-125m": shapes(768, 768, 3072, gated=False),
    "opt-1.3b": shapes(2048, 2048, 8192, gated=False),
}
DAMPING = 0.01
TOLERANCE = 1e-6

Block = tuple[dict[Role, Tensor], dict[Site, Tensor]]
Dense = Callable[[], Tensor]
Factorise = Callable[[Block, float], dict[Role, Dense]]


def random_block(shapes: Shapes, seed: int) -> Block:
    """Weights whose spectra decay, inputs with a few dominant directions and six decades."""
    generator = torch.Generator().manual_seed(seed)

    def gaussian(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    weights = {}
    for role, (d_out, d_in) in shapes.items():
        inner = min(d_out, d_in)
        decay = torch.arange(1, inner + 1, dtype=torch.float64) ** -0.7
        weights[role] = gaussian(d_out, inner) * decay @ gaussian(inner, d_in)
    moments: dict[Site, Tensor] = {}
    for role, (_, size) in shapes.items():
        if SITE_OF_ROLE[role] not in moments:
            decay = torch.logspace(0, -3, size, dtype=torch.float64)
            root = gaussian(size, size) / size**0.5 * decay
            moments[SITE_OF_ROLE[role]] = root @ root.T
    return weights, moments


def ours(block: Block, keep: float, with_junction: bool = False) -> dict[Role, Dense]:
    """Two factors, or the block-identity form, each as what gives its dense equivalent."""
    weights, moments = block
    metrics = {site: root_covariance(C, DAMPING) for site, C in moments.items()}
    factors: dict[Role, Dense] = {}
    for role, W in weights.items():
        metric = metrics[SITE_OF_ROLE[role]]
        rank = rank_for(W.shape, keep, "block-identity")
        product = best_product(W, metric, rank)
        joined = with_junction and join(product, metric, "block-identity", None)
        factors[role] = (joined or product).dense
    return factors


def textbook(block: Block, keep: float, full_matrices: bool = False) -> dict[Role, Dense]:
    """The same by eigendecomposition and singular value decomposition of each layer."""
    weights, moments = block
    factors: dict[Role, Dense] = {}
    for role, W in weights.items():
        values, vectors = torch.linalg.eigh(damped(moments[SITE_OF_ROLE[role]], DAMPING))
        root = (vectors * values.sqrt()) @ vectors.T
        inverse = (vectors / values.sqrt()) @ vectors.T
        U, singular, V = torch.linalg.svd(W @ root, full_matrices=full_matrices)
        rank = rank_for(W.shape, keep, "block-identity")
        factors[role] = partial(torch.mm, U[:, :rank] * singular[:rank], V[:rank] @ inverse)
    return factors


def timed(
    factorise: Factorise, blocks: list[Block], keep: float, clock: Callable[[], float]
) -> tuple[float, list[float]]:
    """Seconds for all blocks, and the loss of every layer."""
    start = clock()
    results = [factorise(block, keep) for block in blocks]
    seconds = clock() - start
    return seconds, [
        float(quadratic_loss(weights[role], dense(), damped(moments[SITE_OF_ROLE[role]], DAMPING)))
        for (weights, moments), result in zip(blocks, results, strict=True)
        for role, dense in result.items()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="smollm2-135m")
    parser.add_argument("--blocks", type=int, default=1, help="blocks a round")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds")
    parser.add_argument("--ratio", type=float, default=0.3, help="share of parameters removed")
    parser.add_argument(
        "--full-matrices", action="store_true", help="textbook SVD with torch's default bases"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--wall", action="store_true", help="time on the wall, not the processor's")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    threadpool_limits(options.threads)  # of scipy's LAPACK
    clock = time.perf_counter if options.wall else time.process_time
    reference = partial(textbook, full_matrices=options.full_matrices)
    keep = 1 - options.ratio
    warm = [random_block(SHAPES["smollm2-135m"], 0)]
    timed(ours, warm, keep, clock)
    timed(reference, warm, keep, clock)
    blocks = [random_block(SHAPES[options.shape], seed) for seed in range(options.blocks)]
    seconds: dict[str, list[float]] = {"ours": [], "joined": [], "textbook": []}
    apart = 0.0
    for _ in range(options.rounds):
        ours_seconds, found = timed(ours, blocks, keep, clock)
        textbook_seconds, wanted = timed(reference, blocks, keep, clock)
        seconds["ours"].append(ours_seconds)
        joined_seconds, _ = timed(partial(ours, with_junction=True), blocks, keep, clock)
        seconds["joined"].append(joined_seconds)
        seconds["textbook"].append(textbook_seconds)
        apart = max(apart, *(abs(a - b) / b for a, b in zip(found, wanted, strict=True)))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, values in seconds.items():
        spread = f"{min(values):.3f} to {max(values):.3f}"
        print(f"{name:9s} {medians[name]:.3f} s  ({spread} over {options.rounds} rounds)")
    print(
        f"{options.shape}, {options.blocks} blocks, ratio {options.ratio:g}, "
        f"{options.threads} threads, {'wall' if options.wall else 'processor'} time"
    )
    print(f"largest relative difference of a loss: {apart:.1e}")
    print(f"speed-up: {medians['textbook'] / medians['ours']:.1f}", end=", ")
    print(f"with block identity: {medians['textbook'] / medians['joined']:.1f}")
    if apart > TOLERANCE:
        print(f"the losses differ by more than {TOLERANCE:g}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
