"""Where a run happens: versions, hardware, commit, memory."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from harness.records.record import Environment

RECORDED_PACKAGES = (
    "torch", "transformers", "tokenizers", "datasets", "accelerate", "lm-eval", "lmms-eval",
    "numpy", "safetensors", "gguf", "pillow",
)  # fmt: skip


def describe(
    device: str, *, offloaded: bool, plugins: Mapping[str, str] | None = None
) -> Environment:
    """The environment of a run on ``device``, of a model in memory or with its blocks on disk.

    ``plugins`` is the code of others that took part.
    """
    commit, dirty = _checkout()
    return Environment(
        harness=version("harness"),
        commit=commit,
        dirty=dirty,
        python=platform.python_version(),
        platform=platform.platform(),
        packages={name: installed for name in RECORDED_PACKAGES if (installed := _version(name))},
        device=device,
        device_name=_device_name(device),
        threads=torch.get_num_threads(),
        offloaded=offloaded,
        plugins=dict(plugins or {}),
    )


def peak_memory(device: str) -> dict[str, int]:
    """Peak bytes of this process so far: resident on the host, allocated on an accelerator."""
    unit = 1 if sys.platform == "darwin" else 1024
    peak = {"host": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    if used := _accelerators(device):
        peak["device"] = sum(map(torch.cuda.max_memory_allocated, used))
    return peak


def _accelerators(device: str) -> list[str]:
    """Those that ``device`` stands for, all of them for ``auto``."""
    if device == "auto":
        return [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return [device] if torch.device(device).type == "cuda" else []


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _device_name(device: str) -> str:
    if used := _accelerators(device):
        return ", ".join(map(torch.cuda.get_device_name, used))
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@cache
def _checkout() -> tuple[str | None, bool | None]:
    """Commit and dirty flag of the source checkout this package runs from, if it is one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None, None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return commit, bool(_git(root, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return None, None


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
