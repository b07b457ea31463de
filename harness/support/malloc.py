"""What becomes of memory that tensors have left.

glibc learns from large tensors that are freed to keep their like in its heap, which then grows by
gaps that the next ones do not fit. Other C libraries have no such habit.
"""

from __future__ import annotations

import ctypes

_M_MMAP_THRESHOLD = -3  # of malloc.h
_SMALL = 1 << 18


def return_freed_tensors() -> None:
    """Have the C library take memory of tensors from the system and give it back there at once.

    A fixed threshold, in bytes, does so. Every large tensor then starts with new pages, which
    costs time.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_M_MMAP_THRESHOLD, _SMALL)


def return_gaps() -> None:
    """Give back what lies free now: worth it where much was freed that will not come again."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
