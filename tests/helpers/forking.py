"""Processes that may die, forked by a server of one thread that has imported the libraries."""

from __future__ import annotations

import functools
import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.context import ForkServerContext, ForkServerProcess

ENOUGH = 300.0
PRELOADED = [
    "harness.cli.main",
    "harness.cli.compress",
    "harness.cli.request",
    "harness.sweep.running",
    "harness.sweep.display",
    "harness.sweep.worker",
    "harness.sweep.recipe_file",
    "compressors.latentllm",
    "compressors.svd",
    "tasks.wikitext2",
    "transformers.models.opt.modeling_opt",
    "accelerate.hooks",
    "scipy.stats",
]


@functools.cache
def _server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    first = context.Process(target=os.getpid)
    first.start()
    first.join()
    return context


def forked(target: Callable[..., object], *arguments: object) -> ForkServerProcess:
    process = _server().Process(target=target, args=arguments)
    process.start()
    return process


def finished(process: ForkServerProcess) -> int | None:
    """Its exit code."""
    process.join(ENOUGH)
    return process.exitcode
