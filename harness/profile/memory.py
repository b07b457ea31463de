"""Memory of the device a model runs on: how much is free, and the most that was in use."""

from __future__ import annotations

import gc
import os
import re
import sys
from pathlib import Path

import torch

from harness.records.environment import peak_memory

_OWN = Path("/proc/self")
_FORGET_PEAK = "5"
"""Asks Linux to forget how much memory a process has had."""


def available(device: torch.device) -> int:
    """Bytes that can still be allocated on ``device``."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = _number(Path("/proc/meminfo"), "MemAvailable")
    if free is not None:
        return free
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def reset_peak(device: torch.device) -> None:
    """Forget the peak so far; where the system cannot, it stays that of the whole process."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    elif sys.platform == "linux":
        try:
            (_OWN / "clear_refs").write_text(_FORGET_PEAK)
        except OSError:
            return


def peak(device: torch.device) -> int:
    """Most bytes since ``reset_peak``: allocated on an accelerator, or resident on the host."""
    if device.type == "cuda":
        return peak_memory(str(device))["device"]
    return _number(_OWN / "status", "VmHWM") or peak_memory("cpu")["host"]


def _number(file: Path, key: str) -> int | None:
    """Bytes of a line ``key: N kB``."""
    if not file.is_file():
        return None
    match = re.search(rf"^{key}:\s*(\d+) kB$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return int(match[1]) * 1024 if match else None
