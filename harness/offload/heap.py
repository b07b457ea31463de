"""Freed tensors leave the process at once."""

from __future__ import annotations

import ctypes

_M_MMAP_THRESHOLD = -3  # of malloc.h
_SMALL = 1 << 18


def return_freed_tensors() -> None:
    """Have the C library take memory of tensors from the system and give it back there.

    glibc learns from large tensors that are freed to keep their like in its heap, which then grows
    with every block by gaps that the next one does not fit. A fixed threshold, in bytes, ends that.
    Other C libraries have no such habit.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_M_MMAP_THRESHOLD, _SMALL)
